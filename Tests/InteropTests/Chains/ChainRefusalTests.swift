// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import SystemPackage
import TestSupport
import Testing

/// What no increment is made of: each is refused with the reason in one line, before anything is made or changed.
@Suite(.limited, .enabled(if: ChainNeeds.all, ChainNeeds.comment))
struct ChainRefusalTests {
    /// A disk with bitmap b0, a full backup, an increment, and changes since.
    private static func disk(in directory: TemporaryDirectory) async throws -> ChainedDisk {
        var disk = try await ChainedDisk(in: directory, length: 2 << 20, changes: 0, seed: 21)
        try await disk.io(["write -q -P 1 0 2M"])
        try await disk.backUp(["--bitmap", "b0", "--create-bitmap"])
        try await disk.io(["write -q -P 2 1M 64k"])
        try await disk.increment()
        try await disk.io(["write -q -P 3 512k 64k"])
        return disk
    }

    private func expectRefused(
        _ disk: ChainedDisk, _ arguments: [String], code: Int32 = 1, _ texts: [String], target: FilePath? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let names = try disk.directory.names()
        let before = try disk.directory.read("disk.qcow2")
        let result = try await Program.qcowbackup.run(
            ["--sync=incremental", "--bitmap=b0"] + arguments + [disk.path.string, (target ?? disk.next).string])
        #expect(result.exitCode == code, "\(result)", sourceLocation: sourceLocation)
        let lines = result.standardError.split(separator: "\n")
        #expect(lines.count == 1, "\(result)", sourceLocation: sourceLocation)
        for text in texts { #expect(result.standardError.contains(text), "\(result)", sourceLocation: sourceLocation) }
        #expect(try disk.directory.names() == names, "\(result)", sourceLocation: sourceLocation)
        let after = try disk.directory.read("disk.qcow2")
        #expect(haveSameBytes(before, after), "the disk is untouched", sourceLocation: sourceLocation)
    }

    @Test func parents() async throws {
        try await withTemporaryDirectory { directory in
            let disk = try await Self.disk(in: directory)
            let (full, last) = (disk.points[0].backup, disk.last)
            func refused(
                _ parent: FilePath, more: [String] = [], code: Int32 = 1, _ texts: String...
            ) async throws {
                try await expectRefused(disk, ["-b", parent.string] + more, code: code, texts)
            }
            try await refused(directory.file("absent"), "the parent", "does not exist")
            try await refused(disk.path, code: 2, "is the source itself")
            try await refused(full, "is not the backup from which bitmap 'b0' counts")
            try await refused(directory.path, "directory")
            try await expectRefused(disk, ["-b", last.string, "--force"], code: 2, ["is the parent"], target: last)
            try await expectRefused(disk, ["-b", last.string, "--force"], code: 2, ["is the parent"], target: full)

            // Unfinished: by its name, and by its blank start.
            try directory.write([UInt8](repeating: 0, count: 1 << 20), to: "killed.qcow2")
            try directory.write(try directory.read("point1.qcow2"), to: "point9.qcow2.partial")
            try await refused(directory.file("killed.qcow2"), "no qcow2 image", "unfinished")
            try await refused(directory.file("point9.qcow2.partial"), "is an unfinished backup")
            try await refused(directory.file("point9.qcow2.partial"), more: ["-F", "raw"], "is an unfinished backup")
            // Cut off.
            try directory.write(Array(try directory.read("point0.qcow2").prefix(1 << 20)), to: "cut.qcow2")
            try await refused(directory.file("cut.qcow2"), "cut.qcow2")

            // Another disk of the same size.
            let other = directory.file("other.qcow2")
            try await Peers.create(other, "", 2 << 20)
            try await refused(other, "is not the backup from which bitmap 'b0' counts", "at offset 0 ")
            // A raw disk taken for a qcow2 image, and the other way round.
            try await refused(last, more: ["-F", "raw"], "is not the backup from which bitmap 'b0' counts")
            try directory.write([UInt8](repeating: 7, count: 2 << 20), to: "raw")
            try await refused(directory.file("raw"), "no qcow2 image", "-F raw")
        }
    }

    @Test func chainsOfParents() async throws {
        try await withTemporaryDirectory { directory in
            let disk = try await Self.disk(in: directory)
            func overlay(_ name: String, _ backing: String, _ format: String = "qcow2") async throws -> FilePath {
                let path = directory.file(name)
                try await Peers.create(path, "", 2 << 20)
                try await Program.qemuIMG.runSuccessfully(
                    ["rebase", "-q", "-u", "-b", backing, "-F", format, path.string])
                return path
            }
            func refused(_ parent: FilePath, code: Int32 = 1, _ texts: String...) async throws {
                try await expectRefused(disk, ["-b", parent.string], code: code, texts)
            }
            try await refused(overlay("gap.qcow2", directory.file("gone").string), "has a gap", "gone")
            let one = try await overlay("one.qcow2", directory.file("two.qcow2").string)
            _ = try await overlay("two.qcow2", one.string)
            try await refused(one, "loop")
            try await refused(overlay("self.qcow2", disk.path.string), code: 2, "leads to the source")
            try await refused(overlay("odd.qcow2", disk.last.string, "vmdk"), "'vmdk' is not supported")
            try await refused(overlay("far.qcow2", "nbd://host/export", "raw"), "not supported")

            // A template that records no format, behind the disk or behind the parent.
            let bare = directory.file("bare.qcow2")
            try await Program.qemuIMG.runSuccessfully([
                "create", "-q", "-f", "qcow2", "-o", "compat=0.10", "-u", "-b", disk.last.string, "-F", "qcow2",
                bare.string, "2M",
            ])
            var bytes = try directory.read("bare.qcow2")
            // Version 2 has its extensions behind 72 bytes; the first one is the format.
            for index in 72..<80 { bytes[index] = 0 }
            try directory.write(bytes, to: "bare.qcow2")
            try await refused(bare, code: 2, "does not record the format", "qemu-img rebase -u -F")
        }
    }

    @Test(arguments: QEMUHolder.present)
    func locked(holder: QEMUHolder) async throws {
        try await withTemporaryDirectory { directory in
            let disk = try await Self.disk(in: directory)
            let (full, last) = (disk.points[0].backup, disk.last)
            let content = try directory.read("disk.qcow2")
            for file in [full, last, disk.path] {
                let running = try await holder.open(file)
                let result = try await Program.qcowbackup.run([
                    "--sync=incremental", "--bitmap=b0", "-b", last.string, disk.path.string, disk.next.string,
                ])
                #expect(result.exitCode == 11, "\(result)")
                #expect(result.standardError.contains(file.string), "\(result)")
                #expect(result.standardError.split(separator: "\n").count == 1, "\(result)")
                #expect(try !directory.names().contains { $0.hasSuffix(".partial") })
                try await QEMUHolder.close(running)
                // qemu-io doesn't save bitmaps when it is ended by a signal.
                try directory.write(content, to: "disk.qcow2")
            }
            // Who only reads the disk holds up what would change its bitmap, and nothing else.
            let reader = try await holder.open(disk.path, readOnly: true)
            let changing = ["--sync=incremental", "--bitmap=b0", "-b", last.string]
            let refused = try await Program.qcowbackup.run(changing + [disk.path.string, disk.next.string])
            #expect(refused.exitCode == 11, "\(refused)")
            try await Peers.backUp(
                disk.path, to: disk.next, ["--sync=bitmap", "--bitmap=b0", "--bitmap-mode=never", "-b", last.string])
            try await QEMUHolder.close(reader)
            try await Peers.expectEqual(disk.path.string, "qcow2", disk.next.string)
        }
    }

    /// A disk that can't be written is enough for a differential.
    @Test func readOnlySource() async throws {
        try await withTemporaryDirectory { directory in
            let disk = try await Self.disk(in: directory)
            let result = try await Program("unshare").run([
                "-rm", "sh", "-c",
                """
                set -e; mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; shift
                exec "$@"
                """, "sh", disk.path.string, Program.qcowbackup.path?.string ?? "", "-q", "--sync=bitmap",
                "--bitmap=b0",
                "--bitmap-mode=never", "-b", disk.last.string, disk.path.string, disk.next.string,
            ])
            #expect(result.exitCode == 0 && result.standardError.isEmpty, "\(result)")
            try await Peers.expectEqual(disk.path.string, "qcow2", disk.next.string)
            let changing = try await Program("unshare").run([
                "-rm", "sh", "-c",
                """
                set -e; mount --bind "$1" "$1"; mount -o remount,bind,ro "$1"; shift
                exec "$@"
                """, "sh", disk.path.string, Program.qcowbackup.path?.string ?? "", "-q", "--sync=incremental",
                "--bitmap=b0", "-b", disk.last.string, disk.path.string, directory.file("no.qcow2").string,
            ])
            #expect(changing.exitCode == 1, "\(changing)")
            #expect(changing.standardError.contains("Read-only file system"), "\(changing)")
            #expect(!directory.exists("no.qcow2"))
        }
    }

    @Test func bitmaps() async throws {
        try await withTemporaryDirectory { directory in
            let disk = try await Self.disk(in: directory)
            let parent = ["-b", disk.last.string]
            try await expectRefused(
                disk, parent + ["--bitmap=other"], ["has no bitmap 'other'; it has 'b0'", "--fallback"])
            try await expectRefused(disk, parent + ["--granularity=4k"], ["granularity of 65536 bytes, not 4096"])
            try await BitmapPeers.bitmap(disk.path, ["--disable"], "b0")
            try await expectRefused(disk, parent, ["is disabled"])
            // What is missing from it would be missing from a differential, too.
            try await expectRefused(disk, parent + ["--sync=bitmap", "--bitmap-mode=never"], ["is disabled"])
        }
    }

    /// The disks of the other kinds have no bitmaps.
    @Test func sourcesWithoutBitmaps() async throws {
        try await withTemporaryDirectory { directory in
            let old = directory.file("old.qcow2")
            try await Peers.create(old, "compat=0.10", 1 << 20)
            try directory.write([UInt8](repeating: 1, count: 1 << 20), to: "raw")
            for (source, code, text) in [
                (old, 1, "version 2 images can't have bitmaps"), (directory.file("raw"), 2, "raw"),
            ] {
                let result = try await Program.qcowbackup.run([
                    "--bitmap=b0", "--create-bitmap", source.string, directory.file("target").string,
                ])
                #expect(result.exitCode == Int32(code) && result.standardError.contains(text), "\(result)")
                #expect(try directory.names() == ["old.qcow2", "raw"])
            }
        }
    }
}
