// SPDX-License-Identifier: GPL-2.0-or-later

import FormatTestSupport
import Foundation
import Glibc
import SystemPackage
import TestSupport
import Testing

/// Increments that are disturbed. Nothing is written to the disk's file before the backup is complete, and then a bitmap
/// changes as a whole or not at all: whatever happens, no change of the disk is forgotten, and QEMU finds a valid image.
@Suite(
    .limited,
    .enabled(if: ChainNeeds.all && Program.strace.isInstalled, "qcowbackup, QEMU's tools or strace is missing"))
struct ChainFaultTests {
    /// A disk with changes since its full backup, and its file as it is then.
    private struct Workshop {
        let disk: ChainedDisk
        let content: [UInt8]
        let dirty: [Range<UInt64>]
        let directory: TemporaryDirectory

        init(in directory: TemporaryDirectory) async throws {
            var disk = try await ChainedDisk(in: directory, length: 2 << 20, "cluster_size=4k", seed: 41)
            try await disk.backUp(["--bitmap", "b0", "--create-bitmap", "--granularity=4k"])
            try await disk.change(4)
            try await disk.io(["write -q -P 5 128k 64k"])
            self.disk = disk
            self.directory = directory
            content = try directory.read("disk.qcow2")
            dirty = try await disk.dirty()
            try FileManager.default.copyItem(
                atPath: disk.path.string, toPath: directory.file("before.qcow2").string)
        }

        var target: FilePath { directory.file("target.qcow2") }

        func prepare() throws {
            for name in try directory.names() where name.hasPrefix("target") || name.hasPrefix("next") {
                try FileManager.default.removeItem(atPath: directory.file(name).string)
            }
            try directory.write(content, to: "disk.qcow2")
        }

        var arguments: [String] {
            [
                "-q", "--sync=bitmap", "--bitmap=b0", "--bitmap-mode=always", "-b", disk.last.string, disk.path.string,
                target.string,
            ]
        }

        /// - Parameter injection: on calls on the disk's file only where `onDisk`.
        func run(_ call: String, _ injection: String, onDisk: Bool) async throws -> ProgramResult {
            let options = ["-f", "-o", "/dev/null", "-e", "trace=\(call)", "-e", "inject=\(call):\(injection)"]
            return try await Program.strace.run(
                options + (onDisk ? ["-P", disk.path.string] : []) + [Program.qcowbackup.path?.string ?? ""]
                    + arguments)
        }

        /// The disk is whole and shows what it showed; its bitmap says what it said, or is clean if there is a backup.
        ///
        /// - Returns: whether the bitmap is as it was.
        func judgeDisk(hasTarget: Bool, _ context: Comment) async throws -> Bool {
            let check = try await Program.qemuIMG.run(["check", "-q", "-f", "qcow2", disk.path.string])
            // Leaks are allowed after a crash, errors never.
            #expect(check.exitCode == 0 || check.exitCode == 3, "\(context): \(check)")
            try await Peers.expectEqual(
                directory.file("before.qcow2").string, "qcow2", disk.path.string, about: context)
            let now = try await BitmapPeers.state(of: disk.path).bitmaps
            #expect(now.count == 1 && now[0].defect == nil && now[0].isRecording, "\(context): \(now)")
            let isUnchanged = now.first?.areas == dirty
            #expect(isUnchanged || hasTarget && now.first?.areas == [], "\(context): \(now)")
            return isUnchanged
        }

        /// After more changes, an increment over `parent` shows the disk.
        func judgeNext(over parent: FilePath, _ name: String, _ context: Comment) async throws {
            let next = directory.file(name)
            try await Peers.backUp(
                disk.path, to: next, ["--sync=bitmap", "--bitmap=b0", "--bitmap-mode=never", "-b", parent.string])
            try await Peers.expectEqual(disk.path.string, "qcow2", next.string, about: context)
            try await Peers.expectClean(next, about: context)
        }

        /// Whatever is left can be gone on from.
        func judgeChain(hasTarget: Bool, isUnchanged: Bool, _ context: Comment) async throws {
            if hasTarget {
                try await Peers.expectEqual(
                    directory.file("before.qcow2").string, "qcow2", target.string, about: context)
                try await Peers.expectClean(target, about: context)
            }
            try await disk.io(["write -q -P 77 1M 16k", "write -q -z 0 8k"])
            if hasTarget { try await judgeNext(over: target, "next0.qcow2", context) }
            if isUnchanged { try await judgeNext(over: disk.last, "next1.qcow2", context) }
        }
    }

    private static let calls = ["pwrite64", "fdatasync", "fsync", "ftruncate", "fallocate"]
    private static let mostCalls = 60

    /// Runs until a number is reached that no run gets to; every third place only where tests are to be quick.
    private func forEachPlace(_ body: (_ call: String, _ number: Int) async throws -> Bool) async throws -> Int {
        var hits = 0
        for call in Self.calls {
            for number in stride(from: 1, through: Self.mostCalls, by: isHeavyRun ? 1 : 3) {
                guard try await body(call, number) else { break }
                hits += 1
            }
        }
        return hits
    }

    @Test func killedWhileTheBitmapChanges() async throws {
        try await withTemporaryDirectory { directory in
            let workshop = try await Workshop(in: directory)
            var outcomes: Set<Bool> = []
            let hits = try await forEachPlace { call, number in
                try workshop.prepare()
                let result = try await workshop.run(call, "signal=KILL:when=\(number)", onDisk: true)
                let context: Comment = "killed at \(call) \(number): \(result)"
                guard result.exitCode != 0 else { return false }
                #expect(result.exitCode == 128 + SIGKILL, context)
                let isUnchanged = try await workshop.judgeDisk(hasTarget: true, context)
                outcomes.insert(isUnchanged)
                try await workshop.judgeChain(hasTarget: true, isUnchanged: isUnchanged, context)
                return true
            }
            // Before the moment in which it changes, and behind it.
            #expect(hits >= 2 && outcomes.contains(true) && (!isHeavyRun || outcomes.count == 2), "\(hits)")
        }
    }

    @Test(arguments: ["EIO", "ENOSPC"])
    func failedWhileTheBitmapChanges(error: String) async throws {
        try await withTemporaryDirectory { directory in
            let workshop = try await Workshop(in: directory)
            var failures = 0
            let hits = try await forEachPlace { call, number in
                try workshop.prepare()
                // From there on, as where a disk is gone or full.
                let result = try await workshop.run(call, "error=\(error):when=\(number)+", onDisk: true)
                let context: Comment = "\(error) from \(call) \(number) on: \(result)"
                let isUnchanged = try await workshop.judgeDisk(hasTarget: true, context)
                if result.exitCode == 0 {
                    // What fails once the change has happened leaks, and is told. No run gets to the last place.
                    #expect(!isUnchanged, context)
                    try await workshop.judgeChain(hasTarget: true, isUnchanged: false, context)
                    return !result.standardError.isEmpty
                }
                failures += 1
                #expect(result.exitCode == 1, context)
                let lines = result.standardError.split(separator: "\n").filter { !$0.contains("warning: ") }
                #expect(lines.count == 1, context)
                #expect(lines.first?.contains("\(workshop.target.string): the backup is complete") == true, context)
                #expect(lines.first?.contains("bitmap 'b0' could not be updated") == true, context)
                let isUncertain = lines.first?.contains("whether it has changed is not known") == true
                #expect(isUncertain || isUnchanged && lines.first?.contains("it is as it was") == true, context)
                try await workshop.judgeChain(hasTarget: true, isUnchanged: isUnchanged, context)
                return true
            }
            #expect(hits >= 2 && failures >= 2, "\(hits) \(failures)")
        }
    }

    /// A full backup that can't start its bitmap is complete all the same, and the image has no bitmap.
    @Test func failedWhileTheBitmapIsMade() async throws {
        try await withTemporaryDirectory { directory in
            let workshop = try await Workshop(in: directory)
            let result = try await Program.strace.run([
                "-f", "-o", "/dev/null", "-P", workshop.disk.path.string, "-e", "trace=pwrite64", "-e",
                "inject=pwrite64:error=EIO:when=1+", Program.qcowbackup.path?.string ?? "", "-q", "--output=json",
                "--bitmap=new", "--create-bitmap", workshop.disk.path.string, workshop.target.string,
            ])
            #expect(result.exitCode == 1, "\(result)")
            #expect(result.standardError.contains(#""code":"bitmap-not-updated""#), "\(result)")
            // The summary comes all the same, and says what to know before the next run.
            let summary = try #require(
                try JSONSerialization.jsonObject(with: Data(result.outputBytes)) as? [String: Any], "\(result)")
            #expect(summary["bitmap-updated"] as? Bool == false && summary["bytes-written"] as? Int ?? 0 > 0)
            #expect(result.standardError.contains("the backup is complete, but bitmap 'new'"), "\(result)")
            #expect(result.standardError.contains("there is none yet"), "\(result)")
            let isUnchanged = try await workshop.judgeDisk(hasTarget: false, "\(result)")
            #expect(isUnchanged)
            try await Peers.expectEqual(workshop.disk.path.string, "qcow2", workshop.target.string)
        }
    }

    /// Before the backup is complete, the disk's file is not written to at all.
    @Test func killedWhileCopying() async throws {
        try await withTemporaryDirectory { directory in
            let workshop = try await Workshop(in: directory)
            var hits = 0
            let writes = (isHeavyRun ? Array(1...12) : [1, 2]).map { ("pwrite64", $0) }
            for (call, number) in writes + [("fdatasync", 1), ("renameat2", 1)] {
                try workshop.prepare()
                let result = try await workshop.run(call, "signal=KILL:when=\(number)", onDisk: false)
                let context: Comment = "killed at \(call) \(number): \(result)"
                let hasTarget = directory.exists("target.qcow2")
                hits += result.exitCode == 0 ? 0 : 1
                if !hasTarget {
                    #expect(haveSameBytes(try directory.read("disk.qcow2"), workshop.content), context)
                }
                let isUnchanged = try await workshop.judgeDisk(hasTarget: hasTarget, context)
                try await workshop.judgeChain(hasTarget: hasTarget, isUnchanged: isUnchanged, context)
            }
            #expect(hits > 0)
        }
    }

    /// Of a backup that is given up nothing is left that changes could be left out for, in any mode.
    @Test(arguments: [("on-success", SIGINT), ("always", SIGTERM)], [[], ["--keep-partial"]])
    func cancelled(way: (mode: String, signal: Int32), options: [String]) async throws {
        let (mode, signal) = way
        try await withTemporaryDirectory { directory in
            let workshop = try await Workshop(in: directory)
            let running = try Program.qcowbackup.start(
                options + [
                    "--speed=1", "--progress=json", "--sync=bitmap", "--bitmap=b0", "--bitmap-mode=\(mode)", "-b",
                    workshop.disk.last.string, workshop.disk.path.string, workshop.target.string,
                ])
            // The first cluster is copied; the next would take hours.
            try await running.waitForOutput(#""offset":65536"#)
            running.signal(signal)
            let result = try await running.wait()
            #expect(result.exitCode == 128 + signal, "\(result)")
            #expect(!directory.exists("target.qcow2"))
            #expect(directory.exists("target.qcow2.partial") == !options.isEmpty)
            #expect(haveSameBytes(try directory.read("disk.qcow2"), workshop.content), "the disk is untouched")
            try await workshop.judgeChain(hasTarget: false, isUnchanged: true, "\(result)")
        }
    }

    /// A source that can't be read in one place: what is missing stays dirty, and the next increment has it.
    @Test func unreadable() async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await ChainedDisk(in: directory, length: 2 << 20, changes: 0, seed: 42)
            try await disk.backUp(["--bitmap", "b0", "--create-bitmap"])
            try await disk.io(["write -q -c -P 9 128k 64k", "write -q -P 8 1M 64k"])
            let whole = try directory.read("disk.qcow2")
            try disk.breakCompressedCluster(at: 128 << 10)
            let result = try await Program.qcowbackup.run([
                "-q", "--on-source-error=ignore", "--sync=incremental", "--bitmap=b0", "-b", disk.last.string,
                disk.path.string, disk.next.string,
            ])
            #expect(result.exitCode == 3, "\(result)")
            let missing: [Range<UInt64>] = [128 << 10..<192 << 10]
            #expect(try await disk.dirty() == missing)
            // It can be read again.
            var mended = try directory.read("disk.qcow2")
            let place = disk.compressedBytes(at: 128 << 10, of: whole)
            mended.replaceSubrange(place, with: whole[place])
            try directory.write(mended, to: "disk.qcow2")
            let lacking = disk.next
            try await disk.backUpOver(lacking, to: directory.file("later.qcow2"))
            try await disk.judge()
        }
    }

    @Test(
        "no room for the bitmap",
        .enabled(if: Program("unshare").isInstalled, "unshare is missing"))
    func noRoom() async throws {
        try await withTemporaryDirectory { directory in
            let workshop = try await Workshop(in: directory)
            try FileManager.default.createDirectory(
                atPath: directory.file("small").string, withIntermediateDirectories: false)
            // An image in which no cluster is free: QEMU leaves some where its bitmaps were.
            let compact = directory.file("compact.qcow2")
            try await Program.qemuIMG.runSuccessfully([
                "convert", "--bitmaps", "-O", "qcow2", workshop.disk.path.string, compact.string,
            ])
            let script = """
                mount -t tmpfs -o size=4m tmpfs "$1" || exit 99
                cp "$2" "$1/disk.qcow2" || exit 98; head -c 16m /dev/zero >"$1/filler" 2>/dev/null
                "$3" -q --sync=incremental --bitmap=b0 -b "$4" "$1/disk.qcow2" "$5"; code=$?
                cp "$1/disk.qcow2" "$6"; exit $code
                """
            let result = try await Program("unshare").run([
                "-rm", "sh", "-c", script, "sh", directory.file("small").string, compact.string,
                Program.qcowbackup.path?.string ?? "", workshop.disk.last.string, workshop.target.string,
                workshop.disk.path.string,
            ])
            #expect(result.exitCode == 1, "\(result)")
            #expect(result.standardError.contains("the backup is complete"), "\(result)")
            #expect(result.standardError.contains("No space left on device"), "\(result)")
            let isUnchanged = try await workshop.judgeDisk(hasTarget: true, "\(result)")
            #expect(isUnchanged)
            try await workshop.judgeChain(hasTarget: true, isUnchanged: true, "\(result)")
        }
    }
}
