// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import SystemPackage
import TestSupport
import Testing

/// A backup into an image that exists (`-n`): afterwards it shows the source's disk, is free of errors and leaks, and
/// what else it holds is as it was.
@Suite(.limited, .enabled(if: Peers.areInstalled, Peers.missing))
struct ExistingTargetTests {
    /// Options of the image that is written into.
    static let shapes = [
        "", "cluster_size=512", "cluster_size=4k,refcount_bits=1", "cluster_size=2M", "compat=0.10",
        "cluster_size=4k,compat=0.10", "extended_l2=on", "extended_l2=on,cluster_size=16k,compression_type=zstd",
        "refcount_bits=64,cluster_size=1k", "lazy_refcounts=on", "preallocation=metadata",
        "preallocation=falloc,cluster_size=4k", "preallocation=metadata,extended_l2=on",
    ]

    /// What happened to the image before.
    enum Past: String, Sendable, CaseIterable {
        case new
        /// Written all over, compressed in part.
        case old
        /// As old, then frozen in a snapshot and written to again.
        case snapshot
        /// As old, over a backing file that is full of other data.
        case backing
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let shape: String
        let past: Past
        let compresses: Bool
        var testDescription: String { "\(past) \(shape)\(compresses ? " -c" : "")" }

        static let all = shapes.flatMap { shape in
            Past.allCases.flatMap { past in
                [false, true].map { Case(shape: shape, past: past, compresses: $0) }
            }
        }.filter { item in
            // Snapshots need refcounts of more than one; QEMU preallocates over no backing file but with subclusters.
            !(item.past == .snapshot && item.shape.contains("refcount_bits=1"))
                && !(item.past == .backing && item.shape.contains("preallocation"))
        }

        /// A part of them, in which everything comes up.
        static let some = isHeavyRun ? all : all.enumerated().filter { $0.offset % 5 == 0 }.map(\.element)
    }

    /// Makes the image, with the length of the disk that is to come.
    private func makeTarget(
        _ item: Case, _ length: UInt64, in directory: TemporaryDirectory, random: inout SeededRandom
    ) async throws -> FilePath {
        let path = directory.file("target.qcow2")
        var backing: FilePath?
        if item.past == .backing {
            backing = directory.file("below.qcow2")
            try await Peers.create(backing!, "", length)
            try await Peers.io(backing!, ["write -q -P 0xbb 0 \(length)"])
        }
        try await Peers.create(path, item.shape, length, backing: backing)
        guard item.past != .new else { return path }
        if !item.shape.contains("preallocation") {
            let compressed = min(length, 2 << 20)
            try await Peers.io(path, ["write -q -c -P 0x77 0 \(compressed)"])
        }
        try await Peers.io(path, changes(length, &random))
        if item.past == .snapshot {
            try await Program.qemuIMG.runSuccessfully(["snapshot", "-q", "-c", "kept", path.string])
            try await Peers.io(path, changes(length, &random))
        }
        return path
    }

    private func changes(_ length: UInt64, _ random: inout SeededRandom) -> [String] {
        (0..<5).map { index in
            let range = random.range(below: length, alignment: 512)
            let place = "\(range.lowerBound) \(range.count)"
            return index == 4 ? "write -q -z \(place)" : "write -q -P \(index + 1) \(place)"
        }
    }

    @Test(arguments: Case.some)
    func qcow2(item: Case) async throws {
        var random = SeededRandom(text: item.testDescription)
        try await withTemporaryDirectory { directory in
            let disk = try await RandomDisk(ImageShape(), layers: 2, in: directory, random: &random)
            let target = try await makeTarget(item, disk.length, in: directory, random: &random)
            let kept = directory.file("kept.raw")
            if item.past == .snapshot {
                try await Program.qemuIMG.runSuccessfully(
                    ["convert", "-l", "kept", "-O", "raw", target.string, kept.string])
            }
            let before = try directory.content()
            var arguments = ["-n"]
            if item.compresses {
                arguments += ["-c", "--compression-type=\(item.shape.contains("zstd") ? "zstd" : "zlib")"]
            }

            try await Peers.backUp(disk.path, to: target, arguments)

            try await Peers.expectClean(target)
            try await Peers.expectEqual(disk.path.string, "qcow2", target.string)
            var after = try directory.content()
            after["target.qcow2"] = before["target.qcow2"]
            #expect(after.removeValue(forKey: "target.qcow2.manifest") != nil)
            try await Program.qcowbackup.runSuccessfully(["verify", "-q", target.string])
            #expect(after == before, "another file changed")
            if item.past == .snapshot {
                let now = directory.file("now.raw")
                try await Program.qemuIMG.runSuccessfully(
                    ["convert", "-l", "kept", "-O", "raw", target.string, now.string])
                #expect(try directory.read("now.raw") == directory.read("kept.raw"), "the snapshot changed")
            }
            // QEMU goes on with it as with its own.
            try await Peers.io(target, ["write -q -P 0x99 0 \(min(disk.length, 300 << 10))"])
            try await Peers.expectClean(target)
        }
    }

    /// Top writes what the source's topmost image holds, into an overlay of the same backing file.
    @Test(arguments: ["", "cluster_size=4k", "extended_l2=on", "compat=0.10"], [[], ["-c"]])
    func topIntoOverlay(shape: String, compression: [String]) async throws {
        var random = SeededRandom(text: shape)
        try await withTemporaryDirectory { directory in
            let disk = try await RandomDisk(ImageShape(), layers: 3, in: directory, random: &random)
            try await withBacking(of: disk) { backing in
                let target = directory.file("target.qcow2")
                try await Peers.create(target, shape, disk.length, backing: backing)
                try await Peers.backUp(disk.path, to: target, ["-n", "--sync=top"] + compression)
                try await Peers.expectClean(target)
                try await Peers.expectEqual(disk.path.string, "qcow2", target.string)
                let size = try #require(try await Peers.info(target).clusterSize)
                try await TopRule.expect(target, toHoldWhatIsIn: disk.path, targetClusterSize: size)
            }
        }
    }

    private func withBacking(of disk: RandomDisk, _ body: (FilePath) async throws -> Void) async throws {
        try await body(try #require(disk.backing, "the chain has one layer"))
    }

    @Test(arguments: [false, true])
    func dataFile(isRaw: Bool) async throws {
        var random = SeededRandom(seed: 5)
        try await withTemporaryDirectory { directory in
            let disk = try await RandomDisk(ImageShape(), layers: 2, in: directory, random: &random)
            let target = directory.file("target.qcow2")
            let data = directory.file("target.data")
            try await Peers.create(target, "data_file=\(data),data_file_raw=\(isRaw ? "on" : "off")", disk.length)
            try await Peers.io(target, ["write -q -P 0x33 0 \(disk.length)"])
            try await Peers.backUp(disk.path, to: target, ["-n"])
            try await Peers.expectClean(target)
            try await Peers.expectEqual(disk.path.string, "qcow2", target.string)
            if isRaw {
                // QEMU has made the file longer than the disk, to whole clusters.
                try await Program.qemuIMG.runSuccessfully([
                    "resize", "-q", "-f", "raw", "--shrink", data.string, "\(disk.length)",
                ])
                try await Peers.expectEqual(disk.path.string, "qcow2", data.string, "raw")
            }
        }
    }

    @Test(arguments: [false, true])
    func raw(isFull: Bool) async throws {
        var random = SeededRandom(seed: 6)
        try await withTemporaryDirectory { directory in
            let disk = try await RandomDisk(ImageShape(), layers: 2, in: directory, random: &random)
            let target = directory.file("target.raw")
            try await Program.qemuIMG.runSuccessfully(
                ["create", "-q", "-f", "raw", target.string, "\(disk.length)"])
            if isFull { try await Peers.io(target, ["write -q -P 0x44 0 \(disk.length)"], format: "raw") }
            try await Peers.backUp(disk.path, to: target, ["-n", "-O", "raw"])
            try await Peers.expectEqual(disk.path.string, "qcow2", target.string, "raw")
        }
    }

    /// Images that can't be continued are refused, and stay as they are.
    @Test(arguments: ["bitmap", "corrupt", "dirty", "longer", "shorter"])
    func refusal(reason: String) async throws {
        try await withTemporaryDirectory { directory in
            let source = directory.file("source.qcow2")
            try await Peers.create(source, "", 1 << 20)
            try await Peers.io(source, ["write -q -P 1 0 64k"])
            let target = directory.file("target.qcow2")
            let lengths: [String: UInt64] = ["longer": 2 << 20, "shorter": 512 << 10]
            try await Peers.create(target, "", lengths[reason] ?? 1 << 20)
            if reason == "bitmap" {
                try await Program.qemuIMG.runSuccessfully(["bitmap", "--add", target.string, "changes"])
            }
            if reason == "corrupt" || reason == "dirty" {
                // Incompatible features, the last byte of big-endian 64 bits at offset 72.
                var bytes = try directory.read("target.qcow2")
                bytes[79] = reason == "corrupt" ? 2 : 1
                try directory.write(bytes, to: "target.qcow2")
            }
            let before = try directory.content()
            let result = try await Program.qcowbackup.run(["-n", source.string, target.string])
            #expect([1, 2].contains(result.exitCode), "\(result)")
            #expect(result.standardError.split(separator: "\n").count == 1, "\(result)")
            #expect(try directory.content() == before)
        }
    }
}
