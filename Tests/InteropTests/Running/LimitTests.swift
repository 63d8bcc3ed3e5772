// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import SystemPackage
import TestSupport
import Testing

/// A process to which the system gives little: each command does its work, or says in one line what is missing, ends with
/// 1 and leaves nothing.
@Suite(.limited, .enabled(if: Peers.areInstalled, Peers.missing))
struct LimitTests {
    private static let commands = [
        ["-q", "disk.qcow2", "new.qcow2"], ["-q", "--compress", "--max-workers=64", "disk.qcow2", "new.qcow2"],
        ["info", "disk.qcow2"], ["map", "disk.qcow2"], ["check", "disk.qcow2"], ["bitmap", "list", "disk.qcow2"],
        ["compare", "disk.qcow2", "full.qcow2"], ["verify", "full.qcow2"],
        ["restore", "-q", "full.qcow2", "new.qcow2"], ["list", "."],
    ]

    /// Makes a disk with some data, and a backup of it.
    private static func make(in directory: TemporaryDirectory) async throws {
        let disk = directory.file("disk.qcow2")
        try await Peers.create(disk, "", 8 << 20)
        try await Peers.io(disk, ["write -P 1 0 3M", "write -P 2 5M 100k"])
        try await Peers.backUp(disk, to: directory.file("full.qcow2"), [])
    }

    /// - Parameter script: gets the program and its arguments.
    private static func check(
        _ script: String, _ command: [String], in directory: TemporaryDirectory, mayFail: Bool = true
    ) async throws {
        let program = try #require(Program.qcowbackup.path?.string)
        let before = try directory.names()
        let result = try await Program("bash").run(["-c", script, program] + command, directory: directory.path)
        let made = Set(try directory.names()).subtracting(before)
        for name in made where name.hasSuffix(".qcow2") || name.hasSuffix(".manifest") {
            _ = unlink(directory.file(name).string)
        }
        _ = unlink(directory.file("full.qcow2.verified").string)
        let context: Comment = "\(script): \(command): \(result)"
        guard result.exitCode != 0, mayFail else {
            #expect(result.exitCode == 0, context)
            return
        }
        #expect(result.exitCode == (command[0] == "compare" ? 2 : 1), context)
        // That a backup can't be proven is what verify was asked to tell, and no error.
        let isVerdict = result.standardOutput.contains("NOT PROVEN")
        let errors = result.standardError.split(separator: "\n").filter { !$0.hasPrefix("qcowbackup: warning: ") }
        #expect(errors.count == (isVerdict ? 0 : 1), context)
        #expect(errors.allSatisfy { $0.hasPrefix("qcowbackup: ") }, context)
        #expect(made.subtracting(["full.qcow2.verified"]).isEmpty, context)
    }

    @Test(arguments: commands) func fewDescriptors(command: [String]) async throws {
        try await withTemporaryDirectory { directory in
            try await Self.make(in: directory)
            for count in [4, 5, 6, 7, 8, 9, 12] {
                try await Self.check("ulimit -n \(count); exec \"$0\" \"$@\"", command, in: directory)
            }
            try await Self.check("ulimit -n 32; exec \"$0\" \"$@\"", command, in: directory, mayFail: false)
        }
    }

    @Test(arguments: commands) func littleMemory(command: [String]) async throws {
        try await withTemporaryDirectory { directory in
            try await Self.make(in: directory)
            for kilobytes in [100, 200, 260, 300, 400, 600].map({ $0 * 1024 }) {
                try await Self.check("ulimit -v \(kilobytes); exec \"$0\" \"$@\"", command, in: directory)
            }
            try await Self.check("ulimit -v 1048576; exec \"$0\" \"$@\"", command, in: directory, mayFail: false)
        }
    }

    private static let asRoot = geteuid() == 0 && Program("setpriv").isInstalled && Program("unshare").isInstalled
    private static let needsRoot: Comment = "needs root, setpriv and unshare"

    /// The limit counts all tasks of a user: one that nobody else is.
    @Test(.enabled(if: asRoot, needsRoot), arguments: commands) func noThread(command: [String]) async throws {
        try await withTemporaryDirectory { directory in
            try await Self.make(in: directory)
            for name in [""] + (try directory.names()) { chmod(directory.file(name).string, 0o777) }
            let user = 60_000 + Int32(Self.commands.firstIndex(of: command) ?? 0)
            let drop = "exec setpriv --reuid=\(user) --regid=\(user) --clear-groups bash -c"
            for count in [1, 2, 3] {
                try await Self.check(
                    "\(drop) 'ulimit -u \(count); exec \"$0\" \"$@\"' \"$0\" \"$@\"", command, in: directory,
                    mayFail: count == 1)
            }
        }
    }

    @Test(.enabled(if: asRoot, needsRoot), arguments: commands) func withoutProc(command: [String]) async throws {
        try await withTemporaryDirectory { directory in
            try await Self.make(in: directory)
            let script = "exec unshare -m bash -c 'mount -t tmpfs none /proc; exec \"$0\" \"$@\"' \"$0\" \"$@\""
            try await Self.check(script, command, in: directory, mayFail: false)
        }
    }
}
