// SPDX-License-Identifier: GPL-2.0-or-later

import FormatTestSupport
import SystemPackage
import TestSupport
import Testing

/// Chains of backups by QEMU's bitmaps: every point shows the disk as it was then, for QEMU too, and an increment costs
/// no more than what changed.
@Suite(.limited, .enabled(if: ChainNeeds.all, ChainNeeds.comment))
struct ChainTests {
    struct Shape: Sendable, CustomTestStringConvertible {
        var disk = ""
        var granularity = 65536
        var target: [String] = []

        var testDescription: String { "\(disk) \(granularity) \(target.joined(separator: " "))" }

        static let all: [Shape] = [
            Shape(),
            Shape(disk: "cluster_size=4k", granularity: 512, target: ["-o", "cluster_size=2M"]),
            Shape(granularity: 1 << 20, target: ["-o", "cluster_size=512"]),
            Shape(disk: "extended_l2=on,cluster_size=128k", granularity: 4096, target: ["--compress"]),
            Shape(disk: "cluster_size=2M", granularity: 4096, target: ["-o", "extended_l2=on,cluster_size=16k"]),
            Shape(granularity: 131072, target: ["-o", "compat=0.10"]),
            Shape(disk: "cluster_size=512", granularity: 2 << 20, target: ["--compression-type=zstd"]),
        ]
    }

    @Test(arguments: Shape.all, isHeavyRun ? Array(1...12) : [1])
    func everyPoint(shape: Shape, seed: UInt64) async throws {
        try await withTemporaryDirectory { directory in
            var random = SeededRandom(seed: seed)
            // Not a whole number of anything.
            let length = UInt64.random(in: 6000...9000, using: &random) * 512
            var disk = try await ChainedDisk(in: directory, length: length, shape.disk, seed: seed)
            try await BitmapPeers.bitmap(disk.path, ["--add", "-g", "\(shape.granularity)"], "b0")
            try await disk.change(3)
            try await disk.backUp(["--sync=full", "--bitmap", "b0"] + shape.target)
            #expect(try await disk.dirty().isEmpty)
            for round in 1...(isHeavyRun ? 10 : 3) {
                try await disk.change(round % 3 * 2)
                // Each layer of another kind than the one below.
                let other = Shape.all[(Int(seed) + round) % Shape.all.count]
                try await disk.increment("b0", round.isMultiple(of: 2) ? other.target : shape.target)
                #expect(try await disk.dirty().isEmpty)
            }
            try await disk.judge()
            try await disk.judgeFlattened()
            let info = try await Peers.info(disk.last)
            #expect(info.backingFileName == disk.points[disk.points.count - 2].backup.lastComponent?.string)
            #expect(info.backingFormat == "qcow2")
        }
    }

    /// The disk's length changes between the points, with and without writes to the new part.
    @Test(arguments: isHeavyRun ? Array(1...20) : [1, 2])
    func grownAndShrunk(seed: UInt64) async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await ChainedDisk(in: directory, length: 3 << 20, seed: seed)
            try await disk.backUp(["--bitmap", "b0", "--create-bitmap"])
            for length: UInt64 in [5 << 20 + 512, 5 << 20 + 1024, 9 << 20, 4 << 20, 4 << 20 - 512] {
                try await disk.resize(to: length)
                if Bool.random(using: &disk.random) { try await disk.change(2) }
                try await disk.increment()
            }
            try await disk.judge()
            try await disk.judgeFlattened()
        }
    }

    /// What lies behind a shorter parent's end is copied though the bitmap doesn't mark it.
    @Test func growthThatTheBitmapDoesNotMark() async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await ChainedDisk(in: directory, length: 1 << 20, seed: 5)
            try await disk.backUp(["--bitmap", "b0", "--create-bitmap"])
            try await disk.resize(to: 1 << 20 + 700 * 512)
            try await disk.io(["write -q -P 7 1M 64k", "write -q -P 8 1300000 512"])
            try await BitmapPeers.bitmap(disk.path, ["--clear"], "b0")
            try await disk.increment()
            try await disk.judge()
        }
    }

    /// Shrunk and grown again, a disk has zeroes where its parent has data and the bitmap marks nothing: next to what is
    /// unmarked, and next to what was written since.
    @Test(arguments: ["cluster_size=64k", "cluster_size=4k", "extended_l2=on"], [0, 7 << 20])
    func shrunkAndGrownAgain(options: String, written: Int) async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await ChainedDisk(in: directory, length: 64 << 20, options, changes: 0, seed: 6)
            try await disk.io(["write -q -P 1 0 1M", "write -q -P 5 60M 64k", "write -q -P 6 30M 8M"])
            try await disk.backUp(["--bitmap", "b0", "--create-bitmap"])
            try await disk.resize(to: 32 << 20)
            try await disk.resize(to: 64 << 20)
            if written > 0 { try await disk.io(["write -q -P 8 \(32 << 20 + written) 512"]) }
            try await disk.increment()
            try await disk.judge()
            let data = try await Peers.map(disk.last).filter { $0.depth == 0 && $0.data }
            #expect(data.map(\.length).reduce(0, +) <= (written > 0 ? 65536 : 0), "zeroes take no room")
            // The next one has nothing to do with it any more.
            let result = try await Program.qcowbackup.run([
                "-q", "--strict", "--sync=incremental", "--bitmap", "b0", "-b", disk.last.string, disk.path.string,
                disk.next.string,
            ])
            #expect(result.exitCode == 5, "\(result)")
        }
    }

    /// The same, where the disk's new end has its place in the file at once, and nothing says that it is zero.
    @Test(arguments: ["falloc", "full"])
    func shrunkAndGrownWithRoom(preallocation: String) async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await ChainedDisk(in: directory, length: 1 << 30, changes: 0, seed: 6)
            try await disk.io(["write -q -P 1 0 1M", "write -q -P 2 1000M 4k"])
            try await disk.backUp(["--bitmap", "b0", "--create-bitmap"])
            try await disk.resize(to: 990 << 20)
            try await disk.resize(to: 1 << 30, preallocation: preallocation)
            try await disk.increment()
            try await disk.judge()
        }
    }

    /// A daily differential and hourly increments, each by a bitmap of its own.
    @Test func severalBitmaps() async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await ChainedDisk(in: directory, length: 4 << 20, seed: 7)
            try await disk.backUp(["--bitmap", "daily", "--create-bitmap"])
            let anchor = disk.last
            try await disk.backUp(["--bitmap", "hourly", "--create-bitmap", "--granularity=4k"])
            for round in 0..<4 {
                try await disk.change(2)
                try await disk.increment("hourly")
                let hourly = disk.last
                if round.isMultiple(of: 2) {
                    let before = try await disk.dirty("daily")
                    try await disk.backUp([
                        "--sync=bitmap", "--bitmap=daily", "--bitmap-mode=never", "-b", anchor.string,
                    ])
                    #expect(try await disk.dirty("daily") == before)
                    #expect(try await disk.dirty("hourly").isEmpty)
                    // The next hour goes on from where the hours were.
                    try disk.keep(hourly)
                }
            }
            try await disk.backUp([
                "--sync=bitmap", "--bitmap=daily", "--bitmap-mode=on-success", "-b", anchor.string,
            ])
            #expect(try await disk.dirty("daily").isEmpty)
            try await disk.judge()
            let state = try await BitmapPeers.state(of: disk.path).bitmaps.map(\.name).sorted()
            #expect(state == ["daily", "hourly"])
        }
    }

    /// A chain on top of a raw full backup, and on one that shares the disk's template.
    @Test(arguments: [["-O", "raw"], ["--sync=top"]])
    func otherAnchors(arguments: [String]) async throws {
        try await withTemporaryDirectory { directory in
            let base = directory.file("base.qcow2")
            try await Peers.create(base, "", 2 << 20)
            try await Peers.io(base, ["write -q -P 1 0 1M"])
            var disk = try await ChainedDisk(in: directory, length: 2 << 20, seed: 8)
            try await Program.qemuIMG.runSuccessfully(
                ["rebase", "-q", "-u", "-b", base.string, "-F", "qcow2", disk.path.string])
            let isRaw = arguments[0] == "-O"
            let anchor = directory.file("anchor")
            try await Peers.backUp(disk.path, to: anchor, ["--bitmap", "b0", "--create-bitmap"] + arguments)
            try await disk.change(3)
            try await disk.backUp(
                ["--sync=incremental", "--bitmap", "b0", "-b", anchor.string] + (isRaw ? ["-F", "raw"] : []))
            #expect(try await Peers.info(disk.last).backingFormat == (isRaw ? "raw" : "qcow2"))
            try await disk.change(3)
            try await disk.increment()
            try await disk.judge()
        }
    }

    /// What became zero costs no data, whether it was discarded or written; what the parent shows as zero costs nothing.
    @Test func zeroesCostNoData() async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await ChainedDisk(in: directory, length: 64 << 20, changes: 0, seed: 9)
            try await disk.io(["write -q -P 7 0 32M"])
            try await disk.backUp(["--bitmap", "b0", "--create-bitmap"])
            try await disk.io(["write -q -z 0 16M", "discard -q 16M 16M", "write -q -z 40M 24M"])
            try await disk.increment()
            let entries = try await Peers.map(disk.last).filter { $0.depth == 0 }
            #expect(entries.allSatisfy { $0.zero && !$0.data } && entries.map(\.length).reduce(0, +) == 32 << 20)
            let size = try #require(FileSize.of(disk.last))
            #expect(size <= 6 * 65536, "\(size)")
            try await disk.io(["write -q -P 7 0 4k"])
            try await disk.increment()
            try await disk.judge()
        }
    }

    /// A name that leads elsewhere tomorrow is not what an increment records.
    @Test func linksAreFollowed() async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await ChainedDisk(in: directory, length: 1 << 20, seed: 10)
            try await disk.backUp(["--bitmap", "b0", "--create-bitmap"])
            let latest = directory.file("latest")
            try FileLink.make(latest, to: disk.last.lastComponent?.string ?? "")
            try await disk.change(2)
            try await disk.backUp(["--sync=incremental", "--bitmap", "b0", "-b", latest.string])
            #expect(try await Peers.info(disk.last).backingFileName == "point0.qcow2")
            // A link on the way is one, too.
            let folder = directory.file("folder")
            try FileLink.make(folder, to: directory.path.string)
            let name = disk.last.lastComponent?.string ?? ""
            try await disk.change(2)
            try await disk.backUp([
                "--sync=incremental", "--bitmap", "b0", "-b", folder.appending(name).string,
            ])
            #expect(try await Peers.info(disk.last).backingFileName == "point1.qcow2")
            try await disk.judge()
        }
    }

    /// The same holds for the backing file that a backup of the top layer has in common with its source.
    @Test func linksOfTheSourceAreFollowed() async throws {
        try await withTemporaryDirectory { directory in
            let (base, folder) = (directory.file("base.qcow2"), directory.file("folder"))
            try await Peers.create(base, "", 1 << 20)
            try FileLink.make(folder, to: directory.path.string)
            let (top, target) = (directory.file("top.qcow2"), directory.file("target.qcow2"))
            try await Peers.create(top, "", 1 << 20, backing: folder.appending("base.qcow2"))
            try await Peers.backUp(top, to: target, ["--sync=top"])
            #expect(try await Peers.info(target).backingFileName == base.string)
        }
    }

    /// Far more files than a shell lets a program open, unless that asks for more.
    @Test(.enabled(if: Program("prlimit").isInstalled, "prlimit is missing"))
    func longChain() async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await ChainedDisk(in: directory, length: 1 << 20, seed: 11)
            try await disk.backUp(["--bitmap", "b0", "--create-bitmap"])
            let script = """
                parent="$1"
                for i in $(seq 100); do
                    qemu-img create -q -f qcow2 -u -b "$parent" -F qcow2 "$2/layer$i" 1M; parent="$2/layer$i"
                done
                """
            try await Program("bash").runSuccessfully(
                ["-ec", script, "bash", disk.last.string, directory.path.string])
            try await disk.change(2)
            let result = try await Program("prlimit").run([
                "--nofile=64:4096", Program.qcowbackup.path?.string ?? "", "--sync=incremental", "--bitmap=b0", "-b",
                directory.file("layer100").string, disk.path.string, disk.next.string,
            ])
            #expect(result.exitCode == 0, "\(result)")
            #expect(result.standardError.contains("warning: the chain has 102 images with this one"), "\(result)")
            try await Peers.expectEqual(disk.path.string, "qcow2", disk.next.string)
        }
    }
}
