// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps
import DiskChain
import FormatTestSupport
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

/// Bitmaps that are changed at random always are what a list of names and bits says; the disk stays as it was, and no
/// cluster is lost or used twice.
@Suite struct BitmapModelTests {
    static let cases = ImageCase.crossProduct(orders: { isHeavyRun ? Array(0...6) : [$0 % 7, ($0 + 3) % 7] }, round: 2)
        .filter { $0.version >= 3 }

    /// Random bits: single ones, long runs, everything.
    static func randomBits(length: UInt64, granularity: UInt64, _ random: inout SeededRandom) throws -> DirtyBitmap {
        var bits = try DirtyBitmap(length: length, granularity: granularity)
        switch Int.random(in: 0..<6, using: &random) {
        case 0: break
        case 1: bits.setAll()
        default:
            for _ in 0..<Int.random(in: 1...40, using: &random) { bits.set(random.range(below: length)) }
            for _ in 0..<Int.random(in: 0...10, using: &random) { bits.reset(random.range(below: length)) }
        }
        return bits
    }

    @Test(arguments: cases) func randomChanges(kind: ImageCase) async throws {
        let model = try await ImageModel(kind)
        for _ in 0..<10 { try await model.step() }
        try await model.close()
        var random = SeededRandom(seed: kind.seed &+ 7)
        var expected = BitmapState()
        var bitmaps = try await Qcow2File(model.file).openBitmaps(forWriting: true)
        var log: [String] = []
        for _ in 0..<(isHeavyRun ? 200 : 25) {
            var changes: [BitmapChange] = []
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                changes.append(try change(&expected, size: kind.size, &random, &log))
            }
            try await bitmaps.apply(changes)
            #expect(try await BitmapState(bitmaps) == expected, "\(kind): \(log)")
            if Int.random(in: 0..<4, using: &random) == 0 {
                try await bitmaps.close()
                bitmaps = try await Qcow2File(model.file).openBitmaps(forWriting: true)
                #expect(try await BitmapState(bitmaps) == expected, "\(kind): \(log)")
            }
            #expect(bitmaps.warnings.isEmpty)
        }
        try await bitmaps.close()
        #expect(try await BitmapState(readingFrom: model.file) == expected)
        let bytes = (model.file as! MemoryDevice).snapshot.allBytes
        let problems = ImageCheck(bytes).problems
        #expect(problems.isEmpty, "\(kind): \(problems.prefix(5)); \(log)")
        let disk = try await Qcow2File(model.file).open(dataFile: model.dataFile, backing: model.backing)
        #expect(haveSameBytes(try await disk.bytes(at: 0, count: Int(kind.size)), model.expected))
    }

    private func change(
        _ state: inout BitmapState, size: UInt64, _ random: inout SeededRandom, _ log: inout [String]
    ) throws -> BitmapChange {
        let index = state.bitmaps.indices.randomElement(using: &random)
        let choice = Int.random(in: 0..<8, using: &random)
        guard let index, choice > 1 else {
            let name = "bitmap-\(random.next() % 1_000_000)" + String(repeating: "ä", count: Int(random.next() % 500))
            let granularity: UInt64 = 1 << UInt64.random(in: 9...18, using: &random)
            state.bitmaps.append(.init(name: name, granularity: granularity, isRecording: choice == 0))
            log.append("add \(granularity)")
            return .add(name: name, granularity: granularity, isRecording: choice == 0)
        }
        let bitmap = state.bitmaps[index]
        switch choice {
        case 2:
            state.bitmaps.remove(at: index)
            log.append("remove \(index)")
            return .remove(name: bitmap.name)
        case 3:
            state.bitmaps[index].areas = []
            log.append("clear \(index)")
            return .clear(name: bitmap.name)
        case 4:
            let isRecording = Bool.random(using: &random)
            state.bitmaps[index].isRecording = isRecording
            log.append("record \(index)")
            return .setRecording(name: bitmap.name, isRecording)
        case 5:
            let sources = state.bitmaps.filter { _ in Int.random(in: 0..<3, using: &random) == 0 }
            var merged = try DirtyBitmap(length: size, granularity: bitmap.granularity)
            merged.set(bitmap.areas!)
            for source in sources { merged.set(source.areas!) }
            state.bitmaps[index].areas = merged.dirtyRanges()
            log.append("merge \(sources.count) into \(index)")
            return .merge(sources: sources.map(\.name), into: bitmap.name)
        default:
            let bits = try Self.randomBits(length: size, granularity: bitmap.granularity, &random)
            state.bitmaps[index].areas = bits.dirtyRanges()
            log.append("store \(index)")
            return .store(bits, as: bitmap.name)
        }
    }

    private func emptyImage(clusterBits: Int, size: UInt64, version: UInt32 = 3) async throws -> MemoryDevice {
        let file = MemoryDevice(name: "image.qcow2", length: 0)
        var options = Qcow2Options(size: size)
        options.clusterBits = clusterBits
        options.version = version
        try await Qcow2Image.create(options, in: file).close()
        return file
    }

    /// Bits of a large disk, with tables of several clusters and of bits that are mostly alike.
    @Test(arguments: [9, 10, 16]) func largeDisk(clusterBits: Int) async throws {
        let size: UInt64 = clusterBits == 16 ? 1 << 44 : 1 << 36
        let file = try await emptyImage(clusterBits: clusterBits, size: clusterBits == 9 ? 1 << 32 : size)
        let bitmaps = try await Qcow2File(file).openBitmaps(forWriting: true)
        let length = clusterBits == 9 ? 1 << 32 : size
        try await bitmaps.apply([.add(name: "a", granularity: 1 << 12, isRecording: true)])
        var bits = try await bitmaps.load("a")
        var random = SeededRandom(seed: 3)
        for _ in 0..<100 { bits.set(random.range(below: length)) }
        for _ in 0..<100 { bits.reset(random.range(below: length / 3)) }
        try await bitmaps.apply([.store(bits, as: "a")])
        #expect(try await bitmaps.load("a").dirtyRanges() == bits.dirtyRanges())
        try await bitmaps.close()
        #expect(try await Qcow2File(file).openBitmaps().load("a").dirtyRanges() == bits.dirtyRanges())
    }

    @Test func marks() async throws {
        let file = try await emptyImage(clusterBits: 12, size: 1 << 20)
        let bitmaps = try await Qcow2File(file).openBitmaps(forWriting: true)
        try await bitmaps.apply([
            .add(name: "a", granularity: nil, isRecording: true), .add(name: "b", granularity: nil, isRecording: true),
        ])
        try await bitmaps.apply([.markInUse(name: "a")])
        #expect(bitmaps["a"]?.defect == .inconsistent && bitmaps["b"]?.defect == nil)
        // What others would find, and what they may do.
        let others = try await Qcow2File(file).openBitmaps(forWriting: true)
        #expect(others["a"]?.defect == .inconsistent)
        for change: BitmapChange in [
            .clear(name: "a"), .setRecording(name: "a", false), .merge(sources: ["b"], into: "a"),
            .merge(sources: ["a"], into: "b"), .markInUse(name: "a"),
            .store(try DirtyBitmap(length: 1 << 20, granularity: 4096), as: "a"),
        ] {
            let error = await #expect(throws: BlockError.self) { try await others.apply([change]) }
            #expect(try "\(#require(error))".contains("inconsistent"))
        }
        await #expect(throws: BlockError.self) { try await others.load("a") }
        // Whoever set the mark may take it off.
        var bits = try DirtyBitmap(length: 1 << 20, granularity: 4096)
        bits.set(8192..<9000)
        try await bitmaps.apply([.store(bits, as: "a")])
        #expect(try await BitmapState(readingFrom: file).bitmaps[0].areas == [8192..<12288])
        try await bitmaps.apply([.markInUse(name: "a"), .unmarkInUse(name: "a"), .markInUse(name: "b")])
        let last = try await Qcow2File(file).openBitmaps(forWriting: true)
        #expect(last["a"]?.defect == nil && last["b"]?.defect == .inconsistent)
        try await last.apply([.remove(name: "b")])
        #expect(last.list.map(\.name) == ["a"])
    }

    struct Refusal: Sendable, CustomStringConvertible {
        let text: String
        let make: @Sendable () throws -> BitmapChange
        var description: String { text }
    }

    static let refusals: [Refusal] = [
        Refusal(text: "there is no bitmap 'x'; there are: a") { .remove(name: "x") },
        Refusal(text: "there is no bitmap 'x'; there are: a") { .merge(sources: ["a", "x"], into: "a") },
        Refusal(text: "bitmap 'a' exists already") { .add(name: "a", granularity: nil, isRecording: true) },
        Refusal(text: "must not be empty") { .add(name: "", granularity: nil, isRecording: true) },
        Refusal(text: "1024 bytes") {
            .add(name: String(repeating: "x", count: 1024), granularity: nil, isRecording: true)
        },
        Refusal(text: "power of two") { .add(name: "b", granularity: 65537, isRecording: true) },
        Refusal(text: "power of two") { .add(name: "b", granularity: 256, isRecording: true) },
        Refusal(text: "power of two") { .add(name: "b", granularity: 1 << 32, isRecording: true) },
        Refusal(text: "power of two") { .add(name: "b", granularity: 0, isRecording: true) },
        Refusal(text: "don't fit") { .store(try DirtyBitmap(length: 1 << 20, granularity: 512), as: "a") },
        Refusal(text: "don't fit") { .store(try DirtyBitmap(length: 1 << 21, granularity: 4096), as: "a") },
        Refusal(text: "different sizes") {
            .mergeBits(try DirtyBitmap(length: 1 << 21, granularity: 4096), into: "a")
        },
    ]

    @Test(arguments: refusals) func refusedChangesChangeNothing(refusal: Refusal) async throws {
        let file = try await emptyImage(clusterBits: 12, size: 1 << 20)
        let bitmaps = try await Qcow2File(file).openBitmaps(forWriting: true)
        try await bitmaps.apply([.add(name: "a", granularity: 4096, isRecording: true)])
        let before = file.snapshot
        let error = await #expect(throws: BlockError.self) {
            // Neither do those before it.
            try await bitmaps.apply([.setRecording(name: "a", false), try refusal.make()])
        }
        #expect(try "\(#require(error))".contains(refusal.text), "\(String(describing: error))")
        #expect(file.snapshot == before)
        #expect(bitmaps["a"]?.isRecording == true)
    }

    @Test func bitmapsThatCannotBe() async throws {
        let old = try await emptyImage(clusterBits: 12, size: 1 << 20, version: 2)
        #expect(try await Qcow2File(old).openBitmaps().list.isEmpty)
        var error = await #expect(throws: BlockError.self) { try await Qcow2File(old).openBitmaps(forWriting: true) }
        #expect(try "\(#require(error))".contains("version 2"))
        let empty = try await emptyImage(clusterBits: 12, size: 0)
        error = await #expect(throws: BlockError.self) {
            try await Qcow2File(empty).openBitmaps(forWriting: true)
                .apply([.add(name: "a", granularity: nil, isRecording: true)])
        }
        #expect(try "\(#require(error))".contains("no length"))
        let large = try await emptyImage(clusterBits: 16, size: 1 << 45)
        let bitmaps = try await Qcow2File(large).openBitmaps(forWriting: true)
        error = await #expect(throws: BlockError.self) {
            try await bitmaps.apply([.add(name: "a", granularity: 4096, isRecording: true)])
        }
        #expect(try "\(#require(error))".contains("larger granularity"))
        try await bitmaps.apply([.add(name: "a", granularity: 8192, isRecording: true)])
    }

    /// The disk is not written to behind the bitmaps' back.
    @Test func imagesWithBitmapsAreNotWritten() async throws {
        let file = try await emptyImage(clusterBits: 12, size: 1 << 20)
        let bitmaps = try await Qcow2File(file).openBitmaps(forWriting: true)
        try await bitmaps.apply([.add(name: "a", granularity: nil, isRecording: false)])
        let error = await #expect(throws: BlockError.self) { try await Qcow2File(file).open(forWriting: true) }
        #expect(try "\(#require(error))".contains("bitmaps would miss the changes"))
        try await bitmaps.apply([.remove(name: "a")])
        _ = try await Qcow2File(file).open(forWriting: true)
    }

    /// A disk that is only read, with what lies behind it, while its bitmaps change: one file, one lock.
    @Test func bitmapsOfADiskThatIsRead() async throws {
        try await withTemporaryDirectory { directory in
            for (name, backing) in [("base.qcow2", nil), ("disk.qcow2", "base.qcow2")] as [(String, String?)] {
                let file = try LocalStorage.open(directory.file(name).string, access: .create, lock: nil)
                var options = Qcow2Options(size: 1 << 20)
                options.backingFileName = backing
                options.backingFormat = "qcow2"
                let image = try await Qcow2Image.create(options, in: file)
                try await image.write(at: backing == nil ? 0 : 65536, bytes: [UInt8](repeating: 7, count: 65536))
                try await image.close()
            }
            let path = directory.file("disk.qcow2").string
            do {
                let disk = try await DiskOpener(changesBitmaps: true).open(path)
                let bitmaps = try await Qcow2File(disk.layers[0].file).openBitmaps(forWriting: true)
                try await bitmaps.apply([.add(name: "a", granularity: nil, isRecording: true)])
                #expect(
                    haveSameBytes(
                        try await disk.device.bytes(at: 0, count: 1 << 17), [UInt8](repeating: 7, count: 1 << 17)))
                // Nobody else reads it meanwhile as a disk that doesn't change.
                await #expect(throws: ChainError.self) { try await DiskOpener().open(path) }
                _ = try LocalStorage.open(directory.file("base.qcow2").string, access: .readOnly, lock: .readOnlySource)
                try await bitmaps.close()
            }
            let again = try await DiskOpener().open(path)
            #expect(try await Qcow2File(again.layers[0].file).openBitmaps().list.map(\.name) == ["a"])
        }
    }

    /// Bitmaps whose bit is not set are nobody's: they are ignored, and go with the next write.
    @Test(arguments: [false, true]) func staleExtension(writesDisk: Bool) async throws {
        let file = try await emptyImage(clusterBits: 12, size: 1 << 20)
        let bitmaps = try await Qcow2File(file).openBitmaps(forWriting: true)
        try await bitmaps.apply([.add(name: "a", granularity: nil, isRecording: true)])
        try await file.write(at: 95, bytes: [0])
        let stale = try await Qcow2File(file)
        #expect(try await stale.openBitmaps().list.isEmpty)
        #expect(stale.warnings.count == 1 && stale.warnings[0].contains("inconsistent"))
        if writesDisk {
            let image = try await Qcow2File(file).open(forWriting: true)
            try await image.write(at: 0, bytes: [1, 2, 3])
            try await image.close()
        } else {
            let bitmaps = try await Qcow2File(file).openBitmaps(forWriting: true)
            try await bitmaps.apply([.add(name: "b", granularity: nil, isRecording: true)])
            try await bitmaps.close()
        }
        let after = try await Qcow2File(file)
        #expect(after.warnings.isEmpty)
        #expect(try await after.openBitmaps().list.map(\.name) == (writesDisk ? [] : ["b"]))
        let check = ImageCheck(file.snapshot.allBytes, allowsLeaks: true)
        #expect(check.problems.isEmpty && check.leakedClusters == 2)
    }

    /// Autoclear features that we don't know are taken back with the first change, and no other header field or extension.
    @Test func unknownHeaderPartsStay() async throws {
        let file = try await emptyImage(clusterBits: 12, size: 1 << 20)
        let unknown: [UInt8] = [0x71, 0x63, 0x77, 0x62, 0, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0]
        // Behind the table of feature names.
        let end: UInt64 = 504
        try await file.write(at: end, bytes: unknown + [0, 0, 0, 0, 0, 0, 0, 0])
        try await file.write(at: 88, bytes: [0x40, 0, 0, 0, 0, 0, 0, 0])
        let bitmaps = try await Qcow2File(file).openBitmaps(forWriting: true)
        try await bitmaps.apply([.add(name: "a", granularity: nil, isRecording: true)])
        #expect(try await file.bytes(at: 88, count: 8) == [0, 0, 0, 0, 0, 0, 0, 1])
        #expect(try await file.bytes(at: end, count: 16) == unknown)
        #expect(try await file.bytes(at: end + 16, count: 8) == [0x23, 0x85, 0x28, 0x75, 0, 0, 0, 24])
        try await bitmaps.apply([.remove(name: "a")])
        #expect(try await file.bytes(at: 88, count: 8) == [0, 0, 0, 0, 0, 0, 0, 0])
        #expect(try await file.bytes(at: end, count: 24) == unknown + [0, 0, 0, 0, 0, 0, 0, 0])
        #expect(ImageCheck(file.snapshot.allBytes).problems.isEmpty)
    }
}
