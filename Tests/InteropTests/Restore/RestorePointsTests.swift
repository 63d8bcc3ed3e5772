// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import Glibc
import SystemPackage
import TestSupport
import Testing

/// Random chains that QEMU made, of one to six layers of all shapes and lengths, restored at every point: the disk is the
/// one that QEMU finds there, it stands alone, and it takes no more room than its data.
@Suite(.limited, .enabled(if: Peers.areInstalled, Peers.missing))
struct RestorePointsTests {
    static let seeds: Range<UInt64> = 0..<(isHeavyRun ? 120 : 6)

    /// Unit in which a disk is copied, and found to be zero.
    private static let copyLength: UInt64 = 65536

    /// How a point is restored.
    enum Way: CaseIterable {
        case raw, qcow2, compressed, zstd

        var arguments: [String] {
            switch self {
            case .raw: ["-O", "raw"]
            case .qcow2: ["-o", "cluster_size=128k"]
            case .compressed: ["-c"]
            case .zstd: ["--compression-type=zstd", "-o", "extended_l2=on"]
            }
        }
    }

    @Test(arguments: seeds)
    func everyPoint(seed: UInt64) async throws {
        var random = SeededRandom(seed: 400 + seed)
        let chain = try TemporaryDirectory()
        let moved = try TemporaryDirectory()
        let results = try TemporaryDirectory()
        let disk = try await RandomDisk(
            ImageShape(random: &random), layers: Int(seed % 6) + 1, in: chain, random: &random)
        // QEMU's own flattening, made while it finds the files.
        for (index, tip) in disk.layers.enumerated() {
            try await Program.qemuIMG.runSuccessfully(
                ["convert", "-t", "unsafe", "-O", "raw", tip.string, results.file("flat\(index)").string])
        }
        let before = try chain.content()
        for (index, tip) in disk.layers.enumerated() {
            let way = Way.allCases[(index + Int(seed)) % Way.allCases.count]
            let target = try await restore(tip, way, [], flat: results.file("flat\(index)"), in: results)
            if way == .raw {
                let data = try await Peers.map(tip).filter { $0.data }.map { $0.start..<$0.start + $0.length }
                #expect(try allocatedLength(of: target) <= Self.copied(data), "seed \(seed), layer \(index)")
            }
        }
        #expect(try chain.content() == before, "the chain changed")

        for name in before.keys {
            try FileManager.default.moveItem(atPath: chain.file(name).string, toPath: moved.file(name).string)
        }
        for (index, tip) in disk.layers.enumerated() {
            let way = Way.allCases[(index + Int(seed) + 2) % Way.allCases.count]
            try await restore(
                moved.path.appending(tip.lastComponent!), way, ["--chain", moved.path.string],
                flat: results.file("flat\(index)"), in: results)
        }
        #expect(try moved.content() == before, "the chain changed")
        withExtendedLifetime((chain, moved, results)) {}
    }

    /// Restores to a new file, and compares.
    @discardableResult
    private func restore(
        _ tip: FilePath, _ way: Way, _ more: [String], flat: FilePath, in directory: TemporaryDirectory
    ) async throws -> FilePath {
        let target = directory.file("restored")
        try? FileManager.default.removeItem(atPath: target.string)
        let result = try await Program.qcowbackup.runSuccessfully(
            ["restore", "-q"] + way.arguments + more + [tip.string, target.string])
        // Of lengths that differ it warns, and of nothing else.
        let lines = result.standardError.split(separator: "\n")
        #expect(lines.allSatisfy { $0.contains("right only if the disk was resized") }, "\(result)")
        let format = way == .raw ? "raw" : "qcow2"
        try await Peers.expectEqual(flat.string, "raw", target.string, format, about: "\(tip) \(way) \(more)")
        if way != .raw {
            try await Peers.expectClean(target)
            #expect(try await Peers.info(target).backingFileName == nil)
        }
        return target
    }

    /// Bytes that a file takes on its disk.
    private func allocatedLength(of path: FilePath) throws -> UInt64 {
        var status = stat()
        try #require(stat(path.string, &status) == 0)
        return UInt64(status.st_blocks) * 512
    }

    /// Bytes in the units of a copy that touch one of the ranges, which are in order.
    private static func copied(_ ranges: [Range<UInt64>]) -> UInt64 {
        var end: UInt64 = 0
        return ranges.reduce(0) { sum, range in
            let start = max(end, range.lowerBound / copyLength * copyLength)
            end = max(end, (range.upperBound + copyLength - 1) / copyLength * copyLength)
            return sum + (end - start)
        }
    }

    /// A raw disk under images that are longer and shorter: where a file ends, the disk above reads as zeroes.
    @Test(arguments: [[], ["-O", "raw"], ["-c"]])
    func lengths(way: [String]) async throws {
        try await withTemporaryDirectory { directory in
            var random = SeededRandom(seed: 9)
            try directory.write(random.bytes(count: (1 << 20) + 100), to: "base.raw")
            try await Program.qemuIMG.runSuccessfully(
                [
                    "create", "-q", "-f", "qcow2", "-b", directory.file("base.raw").string, "-F", "raw",
                    directory.file("longer.qcow2").string, "2M",
                ])
            try await Peers.io(directory.file("longer.qcow2"), ["write -q -P 7 1500k 512k"])
            try await Peers.create(
                directory.file("shorter.qcow2"), "", 1_600_000, backing: directory.file("longer.qcow2"))
            try await Peers.create(
                directory.file("top.qcow2"), "cluster_size=4k", 3 << 20, backing: directory.file("shorter.qcow2"))
            let target = directory.file("restored")
            let result = try await Program.qcowbackup.runSuccessfully(
                ["restore", "-q"] + way + [directory.file("top.qcow2").string, target.string])
            let warnings = result.standardError.split(separator: "\n")
            #expect(warnings.count == 3, "\(result)")
            #expect(warnings.last?.contains("base.raw is a disk of 1049088 bytes") == true, "\(result)")
            try await Peers.expectEqual(
                directory.file("top.qcow2").string, "qcow2", target.string, way.contains("raw") ? "raw" : "qcow2")
        }
    }
}
