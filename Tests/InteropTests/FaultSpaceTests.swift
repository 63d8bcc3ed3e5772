// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import Glibc
import SystemPackage
import TestSupport
import Testing

/// Limits that the system really has: space, file size, permissions.
@Suite("Space and permission", .enabled(if: FaultTestNeeds.all, FaultTestNeeds.comment))
struct FaultSpaceTests {
    private static let unshare = Program("unshare")
    private static let prlimit = Program("prlimit")
    private static let setpriv = Program("setpriv")

    /// Whether a small file system can be mounted, in a world of its own.
    private static func canMount() async throws -> Bool {
        guard unshare.isInstalled else { return false }
        return try await unshare.run(["-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).exitCode == 0
    }

    @Test(
        "a full file system", .enabled("needs a private mount", { try await FaultSpaceTests.canMount() }),
        arguments: [["--sync=full"], ["--sync=top"], ["-O", "raw"], ["--force"], ["restore"]])
    func fullFileSystem(_ arguments: [String]) async throws {
        let workshop = try await FaultWorkshop()
        let program = try #require(Program.qcowbackup.path?.string)
        try FileManager.default.createDirectory(
            atPath: workshop.directory.file("small").string, withIntermediateDirectories: false)
        // The folder's content afterwards goes to standard output.
        let script = """
            mount -t tmpfs -o size=$1 tmpfs "$2" || exit 99
            [ "$5" != --force ] || echo old >"$2/target"
            "$3" "${@:5}" "$4" "$2/target"; code=$?
            ls "$2"; cat "$2/target" 2>/dev/null; exit $code
            """
        // Less than the clusters that are copied.
        let size = arguments == ["--sync=top"] ? "128k" : "256k"
        let result = try await Self.unshare.run(
            [
                "-rm", "bash", "-c", script, "bash", size, workshop.directory.file("small").string, program,
                workshop.source,
            ] + arguments)
        #expect(result.exitCode == 1, "\(result)")
        #expect(
            result.standardError.contains("No space left on device (make room, or choose another place)"), "\(result)")
        #expect(result.standardError.split(separator: "\n").count == 1, "\(result)")
        #expect(result.standardOutput == (arguments == ["--force"] ? "target\nold\n" : ""), "\(result)")
    }

    @Test(
        "a limit on the length of files", .enabled(if: FaultSpaceTests.prlimit.isInstalled),
        arguments: [["--sync=full"], ["-O", "raw"], ["--compress"]])
    func fileSizeLimit(_ arguments: [String]) async throws {
        let workshop = try await FaultWorkshop()
        let program = try #require(Program.qcowbackup.path?.string)
        let result = try await Self.prlimit.run(
            ["--fsize=131072", program] + arguments + [workshop.source, workshop.target])
        #expect(result.exitCode == 1, "\(result)")
        #expect(result.standardError.contains("File too large"), "\(result)")
        #expect(result.standardError.contains("allows no file of this size"), "\(result)")
        #expect(result.standardError.split(separator: "\n").count == 1, "\(result)")
        #expect(try !workshop.directory.names().contains { $0.hasPrefix("target") })
    }

    @Test("a limit that leaves room for the backup", .enabled(if: FaultSpaceTests.prlimit.isInstalled))
    func largeFileSizeLimit() async throws {
        let workshop = try await FaultWorkshop()
        let program = try #require(Program.qcowbackup.path?.string)
        try await Self.prlimit.runSuccessfully(["--fsize=1048576", program, workshop.source, workshop.target])
        try await Peers.expectEqual(workshop.source, "qcow2", workshop.target)
    }

    /// What is not permitted.
    enum Refusal: String, CaseIterable, Sendable {
        case source, backing, folder, target, replaced
    }

    @Test(
        "no permission", .enabled(if: geteuid() != 0 || FaultSpaceTests.setpriv.isInstalled, "root needs setpriv"),
        arguments: Refusal.allCases)
    func noPermission(_ refusal: Refusal) async throws {
        let workshop = try await FaultWorkshop()
        let program = try #require(Program.qcowbackup.path?.string)
        func mode(_ path: String, _ mode: Int) throws {
            try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
        }
        let folder = workshop.directory.path.string
        try mode(folder, 0o777)
        var options: [String] = []
        var named = workshop.target
        switch refusal {
        case .source:
            named = workshop.source
            try mode(named, 0)
        case .backing:
            named = workshop.directory.file("base.qcow2").string
            try mode(named, 0)
        case .folder:
            named = workshop.partial
            try mode(folder, 0o555)
        case .target, .replaced:
            options = [refusal == .target ? "-n" : "--force"]
            try FileManager.default.copyItem(atPath: workshop.directory.file("empty.qcow2").string, toPath: named)
            try mode(named, 0)
        }
        defer { try? mode(folder, 0o777) }
        let asOther = ["--reuid=65534", "--regid=65534", "--clear-groups", program]
        let arguments = options + [workshop.source, workshop.target]
        let result =
            geteuid() == 0
            ? try await Self.setpriv.run(asOther + arguments) : try await Program.qcowbackup.run(arguments)
        #expect(result.exitCode == 1, "\(result)")
        #expect(result.standardError.contains("Permission denied"), "\(result)")
        #expect(result.standardError.contains(named), "\(result)")
        #expect(result.standardError.split(separator: "\n").count == 1, "\(result)")
        #expect(!workshop.directory.exists(FaultWorkshop.partialName))
        #expect(workshop.directory.exists(FaultWorkshop.targetName) == !options.isEmpty)
    }
}
