// SPDX-License-Identifier: GPL-2.0-or-later

import SystemPackage
import TestSupport
import Testing

/// Every property that a target can be given is there, and the disk in it is the source's.
@Suite(.limited, .enabled(if: Peers.areInstalled, Peers.missing))
struct TargetMatrixTests {
    struct Options: Sendable, CustomTestStringConvertible {
        var list: [String]
        var isPossible: @Sendable (ImageInfo) -> Bool
        var testDescription: String { list.joined(separator: ",") }

        init(_ list: String..., isPossible: @escaping @Sendable (ImageInfo) -> Bool) {
            self.list = list
            self.isPossible = isPossible
        }
    }

    static let options: [Options] =
        (0...12).map { bits in
            let size: UInt64 = 512 << UInt64(bits)
            return Options("cluster_size=\(size)") { $0.clusterSize == size }
        }
        + (0...6).map { order in
            Options("refcount_bits=\(1 << order)", "cluster_size=4k") {
                $0.specific?.data?.refcountBits == 1 << order && $0.clusterSize == 4096
            }
        }
        + [16384, 65536, 2 << 20].map { size in
            Options("extended_l2=on", "cluster_size=\(size)") {
                $0.specific?.data?.extendedL2 == true && $0.clusterSize == UInt64(size)
            }
        } + [
            Options("compat=0.10") { $0.specific?.data?.compat == "0.10" },
            Options("compat=v2", "cluster_size=512") { $0.specific?.data?.compat == "0.10" },
            Options("compat=1.1", "lazy_refcounts=on") { $0.specific?.data?.lazyRefcounts == true },
            Options("compression_type=zstd", "cluster_size=2M") { $0.specific?.data?.compressionType == "zstd" },
            Options("compression_type=zstd", "extended_l2=on", "refcount_bits=1") {
                $0.specific?.data?.compressionType == "zstd" && $0.specific?.data?.extendedL2 == true
            },
        ]

    private static let ways = [["--sync=full"], ["--sync=full", "-c"], ["--sync=top"], ["--sync=top", "-c"]]

    /// Everything with everything; or each property once, and the ways in turn.
    private static let pairs = options.enumerated().flatMap { index, options in
        (isHeavyRun ? ways : [ways[index % ways.count]]).map { (options, $0) }
    }

    @Test(arguments: pairs)
    func property(options: Options, way: [String]) async throws {
        var random = SeededRandom(text: options.testDescription)
        try await withTemporaryDirectory { directory in
            let disk = try await RandomDisk(ImageShape(), layers: 2, in: directory, random: &random)
            let target = directory.file("target.qcow2")
            try await Peers.backUp(disk.path, to: target, way + options.list.flatMap { ["-o", $0] })
            try await Peers.expectClean(target)
            try await Peers.expectEqual(disk.path.string, "qcow2", target.string)
            let info = try await Peers.info(target)
            #expect(options.isPossible(info), "\(info)")
            #expect(info.backingFileName == (way[0] == "--sync=top" ? disk.backing?.string : nil))
            if way[0] == "--sync=top" {
                try await TopRule.expect(
                    target, toHoldWhatIsIn: disk.path, targetClusterSize: try #require(info.clusterSize))
            }
        }
    }

    @Test(arguments: [false, true], [["--sync=full"], ["--sync=top"]])
    func dataFile(isRaw: Bool, way: [String]) async throws {
        var random = SeededRandom(seed: isRaw ? 1 : 2)
        try await withTemporaryDirectory { directory in
            // A raw data file holds the whole disk: it can't leave anything to a backing file.
            let layers = isRaw ? 1 : 2
            let disk = try await RandomDisk(ImageShape(), layers: layers, in: directory, random: &random)
            let target = directory.file("target.qcow2")
            let data = directory.file("target.data")
            try await Peers.backUp(
                disk.path, to: target, way + ["-o", "data_file=\(data),data_file_raw=\(isRaw ? "on" : "off")"])
            try await Peers.expectClean(target)
            try await Peers.expectEqual(disk.path.string, "qcow2", target.string)
            #expect(try await Peers.info(target).specific?.data?.dataFile == data.string)
            if isRaw {
                try await Peers.expectEqual(disk.path.string, "qcow2", data.string, "raw")
            }
        }
    }

    @Test(arguments: 1...3)
    func raw(layers: Int) async throws {
        var random = SeededRandom(seed: UInt64(layers))
        try await withTemporaryDirectory { directory in
            let disk = try await RandomDisk(ImageShape(), layers: layers, in: directory, random: &random)
            let target = directory.file("target.raw")
            try await Peers.backUp(disk.path, to: target, ["-O", "raw"])
            try await Peers.expectEqual(disk.path.string, "qcow2", target.string, "raw")
            let peer = directory.file("peer.raw")
            try await Program.qemuIMG.runSuccessfully(["convert", "-O", "raw", disk.path.string, peer.string])
            let theirs = try await Peers.info(peer, format: "raw").actualSize
            #expect(try await Peers.info(target, format: "raw").actualSize <= theirs + (128 << 10))
        }
    }
}
