// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import SystemPackage
import TestSupport
import Testing

/// Bitmaps that can't be relied on: a full backup where that is wanted, said in all forms, and a chain that goes on.
@Suite(.limited, .enabled(if: ChainNeeds.all, ChainNeeds.comment))
struct ChainFallbackTests {
    enum Trouble: String, Sendable, CaseIterable {
        case missing, disabled, granularity, inUse, table
    }

    private struct Summary: Decodable {
        var sync: String
        var bitmap: String
        var mode: String
        var parent: String?
        var fallback: String?
        var unchanged: Bool?

        private enum CodingKeys: String, CodingKey {
            case sync, bitmap, parent, fallback, unchanged
            case mode = "bitmap-mode"
        }
    }

    /// Makes bitmap b0 of the disk useless.
    private func make(_ trouble: Trouble, in disk: ChainedDisk) async throws -> (options: [String], reason: String) {
        switch trouble {
        case .missing:
            try await BitmapPeers.bitmap(disk.path, ["--remove"], "b0")
            return ([], "has no bitmap 'b0'")
        case .disabled:
            try await BitmapPeers.bitmap(disk.path, ["--disable"], "b0")
            return ([], "is disabled")
        case .granularity: return (["--granularity=128k"], "has a granularity of 65536 bytes, not 131072")
        case .inUse:
            // Killed while it has the disk open for writing.
            let running = try Program.qemuIO.start(["-f", "qcow2", disk.path.string])
            await running.write("write -P 9 300k 4k\n")
            try await running.waitForOutput("wrote")
            running.signal(9)
            _ = try await running.wait()
            return ([], "is inconsistent")
        case .table:
            // The image is opened past the directory; the table's first entry leads out of the file.
            try disk.breakBitmapTable()
            return ([], "b0")
        }
    }

    @Test(arguments: Trouble.allCases, ["incremental", "never"])
    func fullInstead(trouble: Trouble, kind: String) async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await ChainedDisk(in: directory, length: 2 << 20, seed: 31)
            try await disk.backUp(["--bitmap", "b0", "--create-bitmap"])
            try await disk.change(2)
            let (options, reason) = try await make(trouble, in: disk)
            let sync =
                kind == "never" ? ["--sync=bitmap", "--bitmap-mode=never"] : ["--sync=incremental"]
            let arguments = sync + ["--bitmap=b0", "-b", disk.last.string] + options
            let refused = try await Program.qcowbackup.run(arguments + [disk.path.string, disk.next.string])
            #expect(refused.exitCode == 1, "\(refused)")
            #expect(
                refused.standardError.contains(reason) && refused.standardError.contains("--fallback=full"),
                "\(refused)")
            #expect(!directory.exists("point1.qcow2") && !directory.exists("point1.qcow2.partial"))

            let result = try await Program.qcowbackup.run(
                arguments + ["--fallback=full", "--strict", "--output=json", disk.path.string, disk.next.string])
            #expect(result.exitCode == 4, "\(result)")
            #expect(result.standardError.contains(#""type":"warning""#), "\(result)")
            #expect(result.standardError.contains(reason), "\(result)")
            let summary = try JSONDecoder().decode(Summary.self, from: Data(result.outputBytes))
            #expect(summary.sync == "full" && summary.bitmap == "b0" && summary.mode == "on-success")
            #expect(summary.parent == nil && summary.unchanged == nil)
            #expect(summary.fallback?.contains(reason) == true)
            try disk.keep(disk.next)
            #expect(try await Peers.info(disk.last).backingFileName == nil)

            let bitmap = try #require(try await Peers.info(disk.path).specific?.data?.bitmaps?.first)
            #expect(bitmap.flags == ["auto"] && bitmap.granularity == (trouble == .granularity ? 131072 : 65536))
            #expect(try await disk.dirty().isEmpty)
            try await disk.change(2)
            try await disk.increment("b0", options)
            for point in disk.points {
                try await Peers.expectEqual(point.copy.string, "qcow2", point.backup.string)
            }
        }
    }

    enum LostParent: String, Sendable, CaseIterable {
        case missing, empty, cutOff, otherFormat, ofAnotherDisk, ofAnotherDay, withAGap
    }

    /// Makes the last backup useless as a parent, and names what to say of it.
    private func spoil(_ parent: FilePath, as lost: LostParent, of disk: ChainedDisk) async throws -> String {
        let name = parent.lastComponent?.string ?? ""
        switch lost {
        case .missing:
            try FileManager.default.removeItem(atPath: parent.string)
            return "does not exist"
        case .empty:
            try disk.directory.write([], to: name)
            return "parent"
        case .cutOff:
            try disk.directory.write(Array(try disk.directory.read(name).prefix(70_000)), to: name)
            return "parent"
        case .otherFormat:
            try FileManager.default.removeItem(atPath: parent.string)
            try await Program.qemuIMG.runSuccessfully([
                "convert", "-O", "vmdk", disk.path.string, parent.string,
            ])
            return "VMDK"
        case .ofAnotherDisk:
            try FileManager.default.removeItem(atPath: parent.string)
            try await Peers.create(parent, "", disk.length)
            try await Peers.io(parent, ["write -P 99 0 \(disk.length)"])
            return "is not the backup from which"
        case .ofAnotherDay:
            // A backup of this program, and not the one that the bitmap was cleared for.
            try FileManager.default.removeItem(atPath: parent.string)
            try await Peers.backUp(disk.path, to: parent, ["--force"])
            return "is not the backup from which"
        case .withAGap:
            try await Program.qemuIMG.runSuccessfully([
                "rebase", "-u", "-f", "qcow2", "-b", "nowhere", "-F", "qcow2", parent.string,
            ])
            return "nowhere"
        }
    }

    /// An unattended job makes a full backup where its parent is lost, says why, and the chain goes on from there.
    @Test(arguments: LostParent.allCases, ["incremental", "never"])
    func parentIsLost(lost: LostParent, kind: String) async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await ChainedDisk(in: directory, length: 2 << 20, seed: 35)
            try await disk.backUp(["--bitmap", "b0", "--create-bitmap"])
            let parent = disk.last
            try await disk.change(2)
            let reason = try await spoil(parent, as: lost, of: disk)
            let sync = kind == "never" ? ["--sync=bitmap", "--bitmap-mode=never"] : ["--sync=incremental"]
            let target = directory.file("new.qcow2")
            let arguments = sync + ["--bitmap=b0", "-b", parent.string]
            let refused = try await Program.qcowbackup.run(arguments + [disk.path.string, target.string])
            #expect(refused.exitCode == 1 && refused.standardError.contains(reason), "\(refused)")
            #expect(!directory.exists("new.qcow2"))

            let result = try await Program.qcowbackup.run(
                arguments + ["--fallback=full", "--strict", "--output=json", disk.path.string, target.string])
            #expect(result.exitCode == 4, "\(result)")
            let summary = try JSONDecoder().decode(Summary.self, from: Data(result.outputBytes))
            #expect(summary.sync == "full" && summary.mode == "on-success" && summary.parent == nil)
            #expect(summary.fallback?.contains(reason) == true, "\(result)")
            #expect(result.standardError.contains("making a full backup"), "\(result)")
            #expect(try await Peers.info(target).backingFileName == nil)
            #expect(try await disk.dirty().isEmpty)
            try await Peers.expectEqual(disk.path.string, "qcow2", target.string)
            try await disk.change(2)
            try await disk.backUpOver(target, to: directory.file("next.qcow2"))
            try await Peers.expectEqual(disk.path.string, "qcow2", disk.last.string)
        }
    }

    /// What is named by mistake, or in use just now, is no reason for a full backup.
    @Test func noReasonForAFullBackup() async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await ChainedDisk(in: directory, length: 2 << 20, seed: 36)
            try await disk.backUp(["--bitmap", "b0", "--create-bitmap"])
            let arguments = ["--sync=incremental", "--bitmap=b0", "--fallback=full"]
            let itself = try await Program.qcowbackup.run(
                arguments + ["-b", disk.path.string, disk.path.string, disk.next.string])
            #expect(itself.exitCode == 2, "\(itself)")
            let inItsPlace = try await Program.qcowbackup.run(
                arguments + ["--force", "-b", disk.last.string, disk.path.string, disk.last.string])
            #expect(inItsPlace.exitCode == 2, "\(inItsPlace)")
            #expect(!directory.exists("point1.qcow2"))
            try await disk.judge()
        }
    }

    /// One command for every night: the first one needs no parent. Later ones are refused without one.
    @Test func firstNight() async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await ChainedDisk(in: directory, length: 2 << 20, seed: 34)
            let nightly = ["--sync=incremental", "--bitmap=b0", "--fallback=full"]
            let first = try await Program.qcowbackup.run(nightly + ["--strict", disk.path.string, disk.next.string])
            #expect(first.exitCode == 4, "\(first)")
            try disk.keep(disk.next)
            try await disk.change(2)
            let content = try directory.content()
            let refused = try await Program.qcowbackup.run(nightly + [disk.path.string, disk.next.string])
            #expect(refused.exitCode == 2 && refused.standardError.contains("needs -b PARENT"), "\(refused)")
            #expect(try directory.content() == content)
            try await disk.backUp(nightly + ["-b", disk.last.string])
            try await disk.judge()
        }
    }

    /// One command starts a chain, whatever is there; without the option a useless bitmap is refused.
    @Test(arguments: Trouble.allCases)
    func anchorAnew(trouble: Trouble) async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await ChainedDisk(in: directory, length: 2 << 20, seed: 32)
            try await disk.backUp(["--bitmap", "b0", "--create-bitmap"])
            let (options, reason) = try await make(trouble, in: disk)
            let refused = try await Program.qcowbackup.run(
                ["--bitmap=b0"] + options + [disk.path.string, disk.next.string])
            #expect(refused.exitCode == 1 && refused.standardError.contains("--create-bitmap"), "\(refused)")
            #expect(refused.standardError.contains(reason))
            let result = try await Program.qcowbackup.run(
                ["-q", "--strict", "--bitmap=b0", "--create-bitmap"] + options + [disk.path.string, disk.next.string])
            #expect(result.exitCode == 0, "\(result)")
            // What was missing was asked for; what was replaced is told.
            #expect(result.standardError.contains(reason) == (trouble != .missing), "\(result)")
            try disk.keep(disk.next)
            try await disk.change(2)
            try await disk.increment("b0", options)
            for point in disk.points {
                try await Peers.expectEqual(point.copy.string, "qcow2", point.backup.string)
            }
        }
    }

    /// Bitmaps that are damaged beyond use: an increment is refused and leaves no trace; with `--fallback=full` there is a
    /// backup in any case, and a new bitmap or the reason why there is none.
    @Test(arguments: try Fixture.withDamagedBitmaps()) func damaged(fixture: Fixture) async throws {
        try await withTemporaryDirectory { directory in
            let image = try fixture.copyIntoPlace(directory)
            let before = try directory.content()
            let target = directory.file("target.qcow2")
            let increment = ["--sync=incremental", "--bitmap=nightly", "-b", directory.file("parent").string]
            let refused = try await Program.qcowbackup.run(increment + [image.string, target.string])
            #expect(refused.exitCode == 1, "\(refused)")
            #expect(refused.standardError.split(separator: "\n").count <= 2, "\(refused)")
            #expect(try directory.content() == before, "\(refused)")

            let result = try await Program.qcowbackup.run(
                ["-q", "--strict", "--fallback=full"] + increment + [image.string, target.string])
            #expect(result.exitCode == 4 || result.exitCode == 1, "\(result)")
            if result.exitCode == 1 {
                #expect(result.standardError.contains("the backup is complete, but bitmap 'nightly'"), "\(result)")
                #expect(try directory.content().filter { !$0.key.hasPrefix("target") } == before, "\(result)")
            } else {
                #expect(try await Peers.info(image).specific?.data?.bitmaps?.contains { $0.name == "nightly" } == true)
                #expect(try await BitmapPeers.areas(of: "nightly", in: image).isEmpty)
            }
            let flat = directory.file("flat.raw")
            try await Program.qemuIMG.runSuccessfully(["convert", "-O", "raw", target.string, flat.string])
            let digest = try await Program("sha256sum").runSuccessfully([flat.string])
            #expect(digest.standardOutput.prefix(64) == fixture.facts.sha256 ?? "")
        }
    }

    /// A disk that has not changed gets an empty layer, and `--strict` says so.
    @Test func nothingToDo() async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await ChainedDisk(in: directory, length: 2 << 20, seed: 33)
            try await disk.backUp(["--bitmap", "b0", "--create-bitmap"])
            for (options, code) in [([], 0), (["--strict"], 5)] as [([String], Int32)] {
                let before = try directory.read("disk.qcow2")
                let result = try await Program.qcowbackup.run(
                    ["--sync=incremental", "--bitmap=b0", "--output=json", "-b", disk.last.string] + options
                        + [disk.path.string, disk.next.string])
                #expect(result.exitCode == code && result.standardError.isEmpty, "\(result)")
                let summary = try JSONDecoder().decode(Summary.self, from: Data(result.outputBytes))
                #expect(
                    summary.sync == "incremental" && summary.parent == disk.last.string && summary.unchanged == true)
                #expect(haveSameBytes(before, try directory.read("disk.qcow2")), "nothing is written to the disk")
                try disk.keep(disk.next)
            }
            try await disk.judge()
        }
    }
}
