// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import Glibc
import SystemPackage
import TestSupport
import Testing

/// Sources and targets that are none: each gets one line and an exit code, nothing hangs, nothing is lost.
@Suite("Paths that can't be used", .enabled(if: FaultTestNeeds.all, FaultTestNeeds.comment))
struct ProgramPathsTests {
    /// The bytes of every regular file of a folder, by name; other things by kind.
    private func content(_ directory: TemporaryDirectory) throws -> [String: [UInt8]] {
        var content: [String: [UInt8]] = [:]
        for name in try directory.names() {
            var status = stat()
            lstat(directory.file(name).string, &status)
            content[name] =
                status.st_mode & S_IFMT == S_IFREG ? try directory.read(name) : [UInt8(status.st_mode >> 12)]
        }
        return content
    }

    /// Makes what the cases name.
    private func makeThings(in workshop: FaultWorkshop) throws {
        let folder = workshop.directory
        func path(_ name: String) -> String { folder.file(name).string }
        try #require(link(path("source.qcow2"), path("hard-source")) == 0)
        try #require(symlink("source.qcow2", path("link-source")) == 0)
        try #require(link(path("base.qcow2"), path("hard-base")) == 0)
        try #require(symlink("base.qcow2", path("link-base")) == 0)
        try #require(symlink("nowhere", path("dangling")) == 0)
        try #require(symlink("loop", path("loop")) == 0)
        try #require(mkfifo(path("fifo"), 0o666) == 0)
        try #require(mkdir(path("folder"), 0o777) == 0)
        try #require(symlink("precious", path("way-link.partial")) == 0)
        try #require(mkfifo(path("way-fifo.partial"), 0o666) == 0)
        try #require(link(path("source.qcow2"), path("way-source.partial")) == 0)
        try folder.write([7, 7, 7], to: "precious")
        try folder.write([UInt8](repeating: 9, count: 4096), to: "small-raw")
        try Data(folder.read("empty.qcow2")).write(to: URL(filePath: path("other.qcow2")))
        try makeSocket(path("socket"))
    }

    private func makeSocket(_ path: String) throws {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(descriptor) }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
        let length = socklen_t(MemoryLayout<sockaddr_un>.size)
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, length) }
        }
        try #require(result == 0)
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let arguments: [String]
        let code: Int32
        let message: String

        init(_ arguments: [String], _ code: Int32, _ message: String) {
            (self.arguments, self.code, self.message) = (arguments, code, message)
        }

        var testDescription: String { arguments.joined(separator: " ") }
    }

    private static let sameFile: [Case] = {
        let aliases = ["source.qcow2", "./folder/../source.qcow2", "hard-source", "link-source"]
        let bases = ["base.qcow2", "hard-base", "link-base"]
        let manners: [[String]] = [[], ["--force"], ["-n"], ["-n", "-U"], ["--force", "-U", "-O", "raw"]]
        return manners.flatMap { (options: [String]) -> [Case] in
            let toSource = aliases.map { Case(options + ["source.qcow2", $0], 2, "the source itself") }
            let toBase = bases.map { Case(options + ["source.qcow2", $0], 2, "part of the source's chain") }
            return toSource + toBase
        }
    }()

    /// What no manner of writing takes for a target.
    private static let noFiles: [(name: String, message: String)] = [
        ("folder", "folder is a directory"),
        ("fifo", "fifo is a FIFO"),
        ("socket", "socket is a socket"),
        ("/dev/null", "/dev/null is a character device"),
        ("dangling", "dangling is a symbolic link that leads nowhere"),
        ("loop", "loop: stat failed: Too many levels of symbolic links"),
        ("other.qcow2/x", "Not a directory"),
    ]

    private static let badTargets: [Case] = {
        let manners: [[String]] = [[], ["--force"], ["-n"]]
        return manners.flatMap { (options: [String]) -> [Case] in
            noFiles.map { Case(options + ["source.qcow2", $0.name], 1, $0.message) }
        }
    }()

    private static let targets: [Case] =
        badTargets + [
            Case(["source.qcow2", "other.qcow2"], 1, "other.qcow2 exists (--force replaces it, -n writes into it"),
            Case(["source.qcow2", "missing/x"], 1, "No such file or directory"),
            Case(["-n", "source.qcow2", "missing"], 1, "missing does not exist"),
            Case(["-n", "source.qcow2", "small-raw"], 1, "small-raw"),
            Case(["-n", "-O", "raw", "source.qcow2", "small-raw"], 2, "4096 bytes"),
            Case(["-n", "-f", "raw", "source.qcow2", "other.qcow2"], 2, "disk of 1048576 bytes"),
            Case(["-n", "-o", "cluster_size=4k", "source.qcow2", "other.qcow2"], 2, "-o describes a new target"),
            Case(["source.qcow2", "way-link"], 1, "way-link.partial is in the way"),
            Case(["source.qcow2", "way-fifo"], 1, "way-fifo.partial is in the way"),
            Case(["source.qcow2", "way-source"], 2, "way-source.partial is part of the source"),
            Case(["-U", "source.qcow2", "way-source"], 2, "way-source.partial is part of the source"),
            Case(["-U", "-o", "data_file=way-source.partial", "source.qcow2", "way-source"], 2, "names that end with"),
            Case(["-U", "-o", "data_file=source.qcow2", "--force", "source.qcow2", "new"], 2, "part of the source"),
            Case(["-o", "data_file=new", "source.qcow2", "new"], 2, "would be the image itself"),
            Case(["-o", "data_file=precious", "source.qcow2", "new"], 1, "the data file"),
            Case(["-o", "data_file=folder", "--force", "source.qcow2", "new"], 1, "is a directory"),
        ]

    private static let sources: [Case] = [
        Case(["folder", "new"], 1, "folder is a directory"),
        Case(["fifo", "new"], 1, "fifo is a FIFO"),
        Case(["socket", "new"], 1, "socket is a socket"),
        Case(["/dev/null", "new"], 1, "/dev/null is a character device"),
        Case(["missing", "new"], 1, "missing: open failed: No such file or directory"),
        Case(["dangling", "new"], 1, "dangling: open failed: No such file or directory"),
        Case(["loop", "new"], 1, "Too many levels of symbolic links"),
        Case(["-f", "qcow2", "precious", "new"], 1, "precious"),
    ]

    @Test("refused, and nothing changed", arguments: sameFile + targets + sources)
    func refused(_ given: Case) async throws {
        let workshop = try await FaultWorkshop()
        try makeThings(in: workshop)
        let before = try content(workshop.directory)
        let result = try await Program.qcowbackup.run(
            given.arguments, directory: workshop.directory.path, timeout: .seconds(30))
        #expect(result.exitCode == given.code, "\(result)")
        #expect(result.standardError.contains(given.message), "\(result)")
        #expect(result.standardError.split(separator: "\n").count == 1, "\(result)")
        #expect(result.standardOutput == "")
        #expect(try content(workshop.directory) == before)
    }

    @Test("an empty file is an empty disk")
    func emptySource() async throws {
        let workshop = try await FaultWorkshop()
        try workshop.directory.write([], to: "nothing")
        let nothing = workshop.directory.file("nothing").string
        let result = try await Program.qcowbackup.run([nothing, workshop.target])
        #expect(result.exitCode == 0, "\(result)")
        try await Program.qemuIMG.runSuccessfully(["compare", "-f", "raw", "-F", "qcow2", nothing, workshop.target])
    }

    @Test("what is called .partial and is no unfinished backup stays, by whatever name")
    func leftoverWithTwoNames() async throws {
        let workshop = try await FaultWorkshop()
        try workshop.directory.write([1, 2, 3], to: "other")
        try #require(link(workshop.directory.file("other").string, workshop.partial) == 0)
        let result = try await workshop.run(FaultScenario.all[0])
        #expect(result.exitCode == 1, "\(result)")
        #expect(result.standardError.contains("\(workshop.partial) is in the way"), "\(result)")
        #expect(result.standardError.split(separator: "\n").count == 1, "\(result)")
        #expect(try workshop.directory.read("other") == [1, 2, 3])
        #expect(workshop.directory.exists(FaultWorkshop.partialName))
        #expect(!workshop.directory.exists(FaultWorkshop.targetName))
    }

    @Test("a backing file behind a folder's link is recorded where it is")
    func backingBehindLink() async throws {
        let workshop = try await FaultWorkshop()
        let folder = workshop.directory
        // deep/images/top names ../base.qcow2, and is reached by way of a link elsewhere.
        try FileManager.default.createDirectory(
            atPath: folder.file("deep/images").string, withIntermediateDirectories: true)
        try Data(folder.read("base.qcow2")).write(to: URL(filePath: folder.file("deep/base.qcow2").string))
        let top = folder.file("deep/images/top.qcow2").string
        try await Program.qemuIMG.runSuccessfully(
            ["create", "-q", "-f", "qcow2", "-b", "../base.qcow2", "-F", "qcow2", top])
        try #require(symlink("deep/images", folder.file("way").string) == 0)
        let target = workshop.target
        try await Program.qcowbackup.runSuccessfully(
            ["--sync=top", folder.file("way/top.qcow2").string, target])
        let info = try await Program.qemuIMG.runSuccessfully(["info", "--output=json", target])
        #expect(info.standardOutput.contains("/deep/base.qcow2\""), "\(info)")
        try await Program.qemuIMG.runSuccessfully(["compare", "-f", "qcow2", "-F", "qcow2", top, target])
    }
}
