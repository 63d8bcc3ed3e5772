// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import SystemPackage
import TestSupport
import Testing

/// Which backup goes on which: a file that isn't the right one is refused, however much it looks like it.
@Suite(.limited, .enabled(if: ChainNeeds.all, ChainNeeds.comment))
struct ChainIdentityTests {
    /// A disk large enough that no sample finds a small difference, with a full backup and `increments` increments.
    private static func disk(in directory: TemporaryDirectory, increments: Int) async throws -> ChainedDisk {
        var disk = try await ChainedDisk(in: directory, length: 1 << 30, changes: 0, seed: 5)
        try await disk.io(["write -q -P 1 0 8M", "write -q -P 1 500M 8M"])
        try await disk.backUp(["--bitmap", "b0", "--create-bitmap"])
        for number in 0..<increments {
            try await disk.io(["write -q -P \(number + 2) \(number + 1)M 64k"])
            try await disk.increment()
        }
        return disk
    }

    private func expectRefused(
        _ arguments: [String], _ text: String, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let result = try await Program.qcowbackup.run(arguments + ["-q"])
        #expect(
            result.exitCode == 1 && result.standardError.contains(text)
                && result.standardError.split(separator: "\n").count == 1, "\(result)", sourceLocation: sourceLocation)
    }

    private func increment(_ disk: ChainedDisk, on parent: FilePath, to target: FilePath, _ more: String...)
        -> [String]
    {
        ["--sync=incremental", "--bitmap=b0", "-b", parent.string] + more + [disk.path.string, target.string]
    }

    /// The same command once more, as a timer would: the changes of the first run are in its target only.
    @Test func theSameIncrementAgain() async throws {
        try await withTemporaryDirectory { directory in
            let disk = try await Self.disk(in: directory, increments: 1)
            let again = increment(disk, on: disk.points[0].backup, to: disk.last, "--force")
            try await expectRefused(again, "is not the backup from which bitmap 'b0' counts")
            try await disk.judge()
        }
    }

    @Test func anEarlierParent() async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await Self.disk(in: directory, increments: 2)
            try await disk.io(["write -q -P 9 200M 4k"])
            let target = directory.file("target.qcow2")
            for point in disk.points.dropLast() {
                try await expectRefused(
                    increment(disk, on: point.backup, to: target), "is not the backup from which bitmap 'b0' counts")
            }
            // QEMU keeps what it doesn't know, whatever it does with the disk.
            try await Program.qemuIMG.runSuccessfully(["bitmap", "--add", disk.path.string, "other"])
            try await Program.qemuIMG.runSuccessfully(["amend", "-o", "lazy_refcounts=on", disk.path.string])
            try await expectRefused(
                increment(disk, on: disk.points[0].backup, to: target),
                "is not the backup from which bitmap 'b0' counts")
            #expect(!directory.exists("target.qcow2"))
            try await disk.increment()
            // Nothing changed: that backup is one to go on as well.
            try await disk.increment()
            try await disk.io(["write -q -P 10 300M 4k"])
            try await disk.increment()
            try await disk.judge()
        }
    }

    /// A later backup of the same disk has all that the bitmap doesn't mark.
    @Test func aLaterParent() async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await Self.disk(in: directory, increments: 0)
            try await disk.io(["write -q -P 9 200M 4k"])
            let differential = directory.file("differential.qcow2")
            try await Peers.backUp(
                disk.path, to: differential,
                ["--sync=bitmap", "--bitmap=b0", "--bitmap-mode=never", "-b", disk.last.string])
            try await disk.io(["write -q -P 8 300M 4k"])
            try await disk.backUpOver(differential, to: disk.next)
            try await disk.judge()
        }
    }

    /// A copy made by another program says nothing of itself, and a chain that is moved stays what it is.
    @Test func copiesOfAParent() async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await Self.disk(in: directory, increments: 0)
            try await disk.io(["write -q -P 9 200M 4k"])
            let (converted, copied) = (directory.file("converted.qcow2"), directory.file("copied.qcow2"))
            try await Program.qemuIMG.runSuccessfully(
                ["convert", "-c", "-O", "qcow2", disk.last.string, converted.string])
            try FileManager.default.copyItem(atPath: disk.last.string, toPath: copied.string)
            try await disk.backUpOver(converted, to: disk.next)
            try await disk.io(["write -q -P 9 400M 4k"])
            try await disk.increment()
            try await disk.judge()
            let restored = directory.file("restored.qcow2")
            try await Program.qcowbackup.runSuccessfully(["restore", "-q", copied.string, restored.string])
            try await Peers.expectEqual(disk.points[0].copy.string, "qcow2", restored.string)
        }
    }

    @Test func aReplacedLink() async throws {
        try await withTemporaryDirectory { directory in
            let disk = try await Self.disk(in: directory, increments: 2)
            // Another full backup of the same disk, under the name of the first.
            let full = disk.points[0].backup
            try await Peers.backUp(disk.path, to: full, ["--force"])
            let restored = directory.file("restored.qcow2")
            let restore = ["restore", disk.last.string, restored.string]
            try await expectRefused(restore, "was made on another backup than \(full)")
            #expect(!directory.exists("restored.qcow2"))
            try await Program.qcowbackup.runSuccessfully(restore + ["-q", "--trust-chain"])
            try await expectRefused(
                increment(disk, on: disk.last, to: directory.file("target.qcow2")), "was made on another backup than")
        }
    }

    @Test func aRawAnchorThatIsCutOff() async throws {
        try await withTemporaryDirectory { directory in
            let disk = try await ChainedDisk(in: directory, length: 4 << 20, changes: 6, seed: 8)
            let (raw, target) = (directory.file("full.raw"), directory.file("target.qcow2"))
            try await Peers.backUp(disk.path, to: raw, ["-O", "raw", "--bitmap=b0", "--create-bitmap"])
            try await disk.io(["write -q -P 9 0 4k"])
            try await Program.qcowbackup.runSuccessfully(["-q", "-F", "raw"] + increment(disk, on: raw, to: target))
            try await Peers.expectEqual(disk.path.string, "qcow2", target.string)
            #expect(truncate(raw.string, 3 << 20) == 0)
            try await expectRefused(
                ["restore", target.string, directory.file("restored").string], "it was cut off or replaced")
        }
    }

    /// What is written to a file behind the disk changes the disk, and no bitmap tells.
    @Test func changedBackingFile() async throws {
        try await withTemporaryDirectory { directory in
            let (base, overlay) = (directory.file("base.qcow2"), directory.file("overlay.qcow2"))
            try await Peers.create(base, "", 8 << 20)
            try await Peers.io(base, ["write -q -P 1 0 8M"])
            try await Peers.create(overlay, "", 8 << 20, backing: base)
            let full = directory.file("full.qcow2")
            try await Peers.backUp(overlay, to: full, ["--bitmap=b0", "--create-bitmap"])
            try await Peers.io(overlay, ["write -q -P 2 1M 64k"])
            let arguments = ["--sync=incremental", "--bitmap=b0", "-b", full.string]
            let one = directory.file("one.qcow2")
            try await Peers.backUp(overlay, to: one, arguments)
            try await Peers.expectEqual(overlay.string, "qcow2", one.string)
            try await Peers.io(base, ["write -q -P 3 5M 64k"])
            let target = directory.file("target.qcow2").string
            let next = ["--sync=incremental", "--bitmap=b0", "-b", one.string, overlay.string, target]
            try await expectRefused(next, "the files behind \(overlay) have changed")
            let result = try await Program.qcowbackup.run(["-q", "--strict", "--fallback=full"] + next)
            #expect(result.exitCode == 4, "\(result)")
            try await Peers.expectEqual(overlay.string, "qcow2", target)
        }
    }

    /// A disk that was rolled back to an earlier state, with its bitmap: what a later backup holds is not marked in it.
    @Test func aDiskThatWasRolledBack() async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await Self.disk(in: directory, increments: 1)
            let state = directory.file("state.qcow2")
            try FileManager.default.copyItem(atPath: disk.path.string, toPath: state.string)
            try await disk.io(["write -q -P 9 200M 4k"])
            try await disk.increment()
            try FileManager.default.removeItem(atPath: disk.path.string)
            try FileManager.default.copyItem(atPath: state.string, toPath: disk.path.string)
            try await disk.io(["write -q -P 8 300M 4k"])
            let target = directory.file("target.qcow2")
            try await expectRefused(
                increment(disk, on: disk.last, to: target), "at offset \(200 << 20) the disk differs from it")
            // What it did go on from is right still.
            try await disk.backUpOver(disk.points[1].backup, to: disk.next)
            try await Peers.expectEqual(disk.path.string, "qcow2", disk.last.string)
        }
    }

    /// A chain that stands on a disk of which nothing is known.
    @Test func anEarlierParentOverARawAnchor() async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await ChainedDisk(in: directory, length: 1 << 30, changes: 0, seed: 5)
            try await disk.io(["write -q -P 1 0 8M"])
            let raw = directory.file("full.raw")
            try await Peers.backUp(disk.path, to: raw, ["-O", "raw", "--bitmap=b0", "--create-bitmap"])
            try await disk.io(["write -q -P 2 100M 4k"])
            try await disk.backUp(["--sync=incremental", "--bitmap=b0", "-b", raw.string, "-F", "raw"])
            try await disk.io(["write -q -P 3 200M 4k"])
            try await disk.increment()
            try await disk.io(["write -q -P 4 300M 4k"])
            try await expectRefused(
                increment(disk, on: disk.points[0].backup, to: directory.file("target.qcow2")),
                "is not the backup from which bitmap 'b0' counts")
            try await disk.increment()
            try await disk.judge()
        }
    }

    /// Two bitmaps of one disk: the daily one goes on from the weekly backup.
    @Test func aBackupOfAnotherBitmap() async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await Self.disk(in: directory, increments: 1)
            try await disk.io(["write -q -P 9 200M 4k"])
            try await disk.backUp(["--bitmap", "weekly", "--create-bitmap"])
            try await disk.io(["write -q -P 8 300M 4k"])
            try await disk.increment()
            try await disk.judge()
        }
    }

    /// A chain that QEMU or we have flattened, or put on another base with the same content.
    @Test func rebasedAndFlattened() async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await Self.disk(in: directory, increments: 2)
            try await Program.qemuIMG.runSuccessfully(
                ["rebase", "-b", disk.points[0].backup.string, "-F", "qcow2", disk.last.string])
            try await disk.io(["write -q -P 9 400M 4k"])
            try await disk.increment()
            try await disk.judge()
            let flat = directory.file("flat.qcow2")
            try await Program.qcowbackup.runSuccessfully(["restore", "-q", disk.last.string, flat.string])
            try await disk.io(["write -q -P 9 500M 4k"])
            try await disk.backUpOver(flat, to: disk.next)
            try await disk.judge()
        }
    }

    /// A full backup in place of an increment must not take away what other backups stand on.
    @Test func fallbackOverTheChain() async throws {
        try await withTemporaryDirectory { directory in
            let disk = try await Self.disk(in: directory, increments: 2)
            try await Program.qemuIMG.runSuccessfully(["bitmap", "--disable", disk.path.string, "b0"])
            let arguments = increment(disk, on: disk.last, to: disk.points[0].backup, "--force", "--fallback=full")
            let result = try await Program.qcowbackup.run(arguments + ["-q"])
            #expect(result.exitCode == 2 && result.standardError.contains("is part of the chain of"), "\(result)")
            try await disk.judge()
        }
    }

    /// What is written while a bitmap is disabled is missing from it, whoever enables it again.
    @Test(arguments: [false, true])
    func disabledForAWhile(isEnabledByQEMU: Bool) async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await Self.disk(in: directory, increments: 1)
            try await Program.qcowbackup.runSuccessfully(["bitmap", "disable", disk.path.string, "b0"])
            try await disk.io(["write -q -P 9 200M 4k"])
            if isEnabledByQEMU {
                try await Program.qemuIMG.runSuccessfully(["bitmap", "--enable", disk.path.string, "b0"])
            } else {
                try await Program.qcowbackup.runSuccessfully(["bitmap", "enable", disk.path.string, "b0"])
            }
            let target = directory.file("target.qcow2")
            try await expectRefused(increment(disk, on: disk.last, to: target), "was disabled for a while")
            // Another bitmap recorded it, and was merged.
            try await disk.io(["write -q -P 9 200M 4k"])
            try await disk.increment("b0", ["--trust-chain"])
            try await disk.io(["write -q -P 8 300M 4k"])
            try await disk.increment()
            try await disk.judge()
        }
    }

    /// Nothing is known of a bitmap that was made once a backup was restored: what the increments hold is compared.
    @Test func aBitmapOfAnotherPoint() async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await Self.disk(in: directory, increments: 2)
            try await Program.qcowbackup.runSuccessfully(
                ["restore", "-q", "--force", disk.points[1].backup.string, disk.path.string])
            try await Program.qcowbackup.runSuccessfully(["bitmap", "add", disk.path.string, "b0"])
            try await disk.io(["write -q -P 9 200M 4k"])
            try await expectRefused(
                increment(disk, on: disk.last, to: directory.file("target.qcow2")),
                "at offset \(2 << 20) the disk differs from it")
            try await disk.backUpOver(disk.points[1].backup, to: disk.next)
            try await disk.io(["write -q -P 8 300M 4k"])
            try await disk.increment()
            try await Peers.expectEqual(disk.path.string, "qcow2", disk.last.string)
        }
    }

    /// A raw backup can't say which it is, but its bitmap knows what lay behind the disk then.
    @Test func changedBackingFileOverARawAnchor() async throws {
        try await withTemporaryDirectory { directory in
            let (base, overlay) = (directory.file("base.qcow2"), directory.file("overlay.qcow2"))
            try await Peers.create(base, "", 1 << 30)
            try await Peers.io(base, ["write -q -P 1 0 8M", "write -q -P 1 1000M 8M"])
            try await Peers.create(overlay, "", 1 << 30, backing: base)
            let (raw, target) = (directory.file("full.raw"), directory.file("target.qcow2"))
            try await Peers.backUp(overlay, to: raw, ["-O", "raw", "--bitmap=b0", "--create-bitmap"])
            try await Peers.io(base, ["write -q -P 3 1004M 4k"])
            try await expectRefused(
                ["--sync=incremental", "--bitmap=b0", "-b", raw.string, "-F", "raw", overlay.string, target.string],
                "the files behind \(overlay) have changed")
        }
    }

    /// The top layer of a disk, from its own backup: both stand on the same base.
    @Test func restoredOverlay() async throws {
        try await withTemporaryDirectory { directory in
            let (base, overlay) = (directory.file("base.qcow2"), directory.file("overlay.qcow2"))
            try await Peers.create(base, "", 8 << 20)
            try await Peers.io(base, ["write -q -P 1 0 8M"])
            try await Peers.create(overlay, "", 8 << 20, backing: base)
            try await Peers.io(overlay, ["write -q -P 2 1M 64k"])
            let (top, copy) = (directory.file("top.qcow2"), directory.file("copy.qcow2"))
            try await Peers.backUp(overlay, to: top, ["--sync=top"])
            try FileManager.default.copyItem(atPath: overlay.string, toPath: copy.string)
            try await Peers.io(overlay, ["write -q -P 3 2M 64k"])
            try await Program.qcowbackup.runSuccessfully(["restore", "-q", "--force", top.string, overlay.string])
            try await Peers.expectEqual(copy.string, "qcow2", overlay.string)
        }
    }

    /// Bits that stand for less than a cluster: a write allocates more than it marks.
    @Test(arguments: [("cluster_size=64k", "4k"), ("cluster_size=2M", "64k")])
    func shrunkAndGrownUnderLargeClusters(options: String, granularity: String) async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await ChainedDisk(in: directory, length: 64 << 20, options, changes: 0, seed: 6)
            try await disk.io(["write -q -P 1 0 64M"])
            try await disk.backUp(["--bitmap=b0", "--create-bitmap", "--granularity", granularity])
            try await disk.resize(to: 32 << 20)
            try await disk.resize(to: 64 << 20)
            try await disk.io(["write -q -P 2 60M 4k"])
            try await disk.increment()
            try await disk.judge()
        }
    }
}
