// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps
import FormatTestSupport
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

/// Bitmaps that QEMU makes and keeps are read by us with every bit, and those that we make or change QEMU reads, keeps up
/// to date, and finds no fault with.
@Suite(.limited, .enabled(if: BitmapPeers.areInstalled, BitmapPeers.missing))
struct BitmapInteropTests {
    struct Case: Sendable, CustomStringConvertible {
        let shape: ImageShape
        let size: UInt64
        let seed: UInt64

        var description: String { "\(shape.options(dataPath: "data")) size \(size) seed \(seed)" }
    }

    static let cases: [Case] = (0..<(isHeavyRun ? 200 : 13)).map { seed in
        var random = SeededRandom(seed: UInt64(seed))
        var shape = ImageShape(random: &random)
        shape.compat = "1.1"
        // All cluster sizes come up.
        shape.clusterSize = 512 << UInt64(seed % 13)
        if shape.clusterSize < 16384 { shape.extendedL2 = false }
        let clusters = UInt64.random(in: 1...60, using: &random)
        let size = min(shape.clusterSize * clusters + UInt64.random(in: 0..<3, using: &random) * 512, 40 << 20)
        return Case(shape: shape, size: size, seed: UInt64(seed))
    }

    private func create(_ one: Case, in directory: TemporaryDirectory) async throws -> FilePath {
        let image = directory.file("image.qcow2")
        try await Peers.create(image, one.shape.options(dataPath: directory.file("data").string), one.size)
        return image
    }

    private func granularity(_ random: inout SeededRandom) -> UInt64 {
        1 << UInt64.random(in: 9...20, using: &random)
    }

    private func open(_ image: FilePath, forWriting: Bool = false) async throws -> PersistentBitmaps {
        let file = try LocalStorage.open(
            image.string, access: forWriting ? .readWrite : .readOnly,
            lock: forWriting ? .writable : .readOnlySource)
        return try await Qcow2File(file).openBitmaps(forWriting: forWriting)
    }

    @Test(arguments: cases) func qemusBitmapsAreRead(one: Case) async throws {
        let directory = try TemporaryDirectory()
        let image = try await create(one, in: directory)
        var random = SeededRandom(seed: one.seed &+ 1000)
        for name in ["one", "two", "größe 3"] {
            try await BitmapPeers.bitmap(image, ["--add", "-g", "\(granularity(&random))"], name)
            _ = try await BitmapPeers.change(image, size: one.size, count: 8, &random)
        }
        try await BitmapPeers.bitmap(image, ["--disable"], "two")
        _ = try await BitmapPeers.change(image, size: one.size, count: 4, &random)
        try await BitmapPeers.bitmap(image, ["--merge", "one"], "two")
        if one.seed % 3 == 0 { try await BitmapPeers.bitmap(image, ["--clear"], "one") }
        let ours = try await BitmapState(try await open(image))
        #expect(ours == (try await BitmapPeers.state(of: image)))
        #expect(ours.bitmaps.map(\.name) == ["one", "two", "größe 3"])
        #expect(ours.bitmaps.map(\.isRecording) == [true, false, true])
    }

    @Test(arguments: cases) func oursAreReadAndKeptByQEMU(one: Case) async throws {
        let directory = try TemporaryDirectory()
        let image = try await create(one, in: directory)
        var random = SeededRandom(seed: one.seed &+ 2000)
        _ = try await BitmapPeers.change(image, size: one.size, count: 6, &random)
        try directory.write([], to: "before.raw")
        try await Program.qemuIMG.runSuccessfully(
            ["convert", "-f", "qcow2", "-O", "raw", image.string, directory.file("before.raw").string])
        if one.seed % 2 == 0 { try await BitmapPeers.bitmap(image, ["--add"], "theirs") }
        do {
            let bitmaps = try await open(image, forWriting: true)
            try await bitmaps.apply([
                .add(name: "a", granularity: granularity(&random), isRecording: true),
                .add(name: "b", granularity: granularity(&random), isRecording: false),
                .add(name: "c", granularity: nil, isRecording: true),
            ])
            for name in ["a", "b"] {
                var bits = try await bitmaps.load(name)
                if name == "a", one.seed % 4 == 0 { bits.setAll() }
                for _ in 0..<20 { bits.set(random.range(below: one.size)) }
                for _ in 0..<5 { bits.reset(random.range(below: one.size)) }
                try await bitmaps.apply([.store(bits, as: name)])
            }
            try await bitmaps.apply([.merge(sources: ["a", "b"], into: "c"), .setRecording(name: "b", true)])
            try await bitmaps.apply([.setRecording(name: "b", false)])
            try await bitmaps.close()
            #expect(bitmaps.warnings.isEmpty)
        }
        try await Peers.waitUntilUnlocked(image)
        try await Peers.expectClean(image, about: "\(one)")
        let before = try await BitmapState(try await open(image))
        #expect(before == (try await BitmapPeers.state(of: image)))
        try await Peers.expectEqual(image.string, "qcow2", directory.file("before.raw").string, "raw")

        // QEMU records in them what it writes.
        try await Peers.waitUntilUnlocked(image, forWriting: true)
        let touched = try await BitmapPeers.change(image, size: one.size, count: 6, &random)
        try await Peers.expectClean(image, about: "\(one)")
        var expected = before
        for (index, bitmap) in before.bitmaps.enumerated() where bitmap.isRecording {
            var bits = try DirtyBitmap(length: one.size, granularity: bitmap.granularity)
            bits.set(bitmap.areas!)
            bits.set(touched)
            expected.bitmaps[index].areas = bits.dirtyRanges()
        }
        #expect(try await BitmapState(try await open(image)) == expected)

        // And goes on without them.
        try await Peers.waitUntilUnlocked(image, forWriting: true)
        do {
            let last = try await open(image, forWriting: true)
            try await last.apply(expected.bitmaps.map { .remove(name: $0.name) })
            try await last.close()
        }
        try await Peers.expectClean(image, about: "\(one)")
        #expect(try await Peers.info(image).specific?.data?.bitmaps == nil)
    }

    /// For each write of a change, the image that a crash leaves behind it is one that QEMU opens, has no error, and has
    /// the bitmaps from before or after.
    @Test(arguments: ["cluster_size=64k", "cluster_size=512,refcount_bits=64", "cluster_size=16k,extended_l2=on"])
    func everyWriteOfAChange(options: String) async throws {
        let directory = try TemporaryDirectory()
        let image = directory.file("image.qcow2")
        try await Peers.create(image, options, 1 << 20)
        try await BitmapPeers.bitmap(image, ["--add", "-g", "512"], "one")
        try await Peers.io(image, ["write -q -P 1 64k 200k", "write -q -P 2 900k 512"])
        try await BitmapPeers.bitmap(image, ["--add", "-g", "4096"], "two")
        let original = SparseBytes(try directory.read("image.qcow2"))
        let changes: [[BitmapChange]] = [
            [.add(name: "new", granularity: 512, isRecording: true)],
            [.merge(sources: ["one"], into: "two"), .setRecording(name: "two", false)],
            [.clear(name: "one")], [.markInUse(name: "one")], [.remove(name: "one")],
            [.remove(name: "one"), .remove(name: "two")],
        ]
        let before = try await BitmapPeers.state(of: image)
        for (number, change) in changes.enumerated() {
            let memory = MemoryDevice(name: "image.qcow2", length: 0)
            memory.restore(original)
            let recorder = FaultInjectingDevice(memory)
            recorder.startRecording(initial: original)
            let bitmaps = try await Qcow2File(recorder).openBitmaps(forWriting: true)
            try await bitmaps.apply(change)
            try await bitmaps.close()
            let after = try await BitmapState(bitmaps)
            let recording = try #require(recorder.recording)
            for count in 0...recording.requests.count {
                if count > 0, recording.requests[count - 1].isFlush { continue }
                try directory.write(recording.content(afterPrefix: count).allBytes, to: "image.qcow2")
                let check = try await Program.qemuIMG.run(["check", "-q", "-f", "qcow2", image.string])
                // 3: leaks only.
                #expect([0, 3].contains(check.exitCode), "\(options) change \(number) after \(count): \(check)")
                let found = try await BitmapPeers.state(of: image)
                let isGone = after.bitmaps.isEmpty && found.bitmaps.isEmpty
                #expect(found == before || found == after || isGone, "\(options) change \(number) after \(count)")
            }
            try await Peers.expectClean(image, about: "\(options) change \(number)")
        }
    }
}
