// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import Glibc
import SystemPackage
import TestSupport
import Testing

/// Where a restored disk goes: into the place of the old one, which stays until then, and onto block devices.
@Suite(.limited, .enabled(if: Peers.areInstalled, Peers.missing))
struct RestorePlaceTests {
    private static let length = 4 << 20

    /// Makes a full backup and an increment, and returns the increment.
    private func makeBackup(in directory: TemporaryDirectory) async throws -> FilePath {
        let full = directory.file("full.qcow2")
        let one = directory.file("one.qcow2")
        try await Peers.create(full, "", UInt64(Self.length))
        try await Peers.io(full, ["write -q -P 1 0 1M", "write -q -P 3 3M 512k"])
        try await Peers.create(one, "cluster_size=16k", UInt64(Self.length), backing: full)
        try await Peers.io(one, ["write -q -P 2 512k 1M", "write -q -z 3M 512k"])
        return one
    }

    /// The format of a disk that is replaced stays, or is said.
    @Test(arguments: [("qcow2", []), ("qcow2", ["-O", "raw"]), ("raw", ["-O", "raw"]), ("raw", ["-O", "qcow2"])])
    func intoPlace(old: String, options: [String]) async throws {
        try await withTemporaryDirectory { directory in
            let backup = try await makeBackup(in: directory)
            let disk = directory.file("disk")
            try await Program.qemuIMG.runSuccessfully(["create", "-q", "-f", old, disk.string, "1M"])
            try FileManager.default.setAttributes([.posixPermissions: 0o640], ofItemAtPath: disk.string)
            // By way of a link, as an image folder may have it: the link stays one.
            let link = directory.file("link")
            try #require(symlink("disk", link.string) == 0)
            let result = try await Program.qcowbackup.runSuccessfully(
                ["restore", "--force", "--output=json"] + options + [backup.string, link.string])
            #expect(result.standardError == "", "\(result)")
            let summary = try #require(
                try JSONSerialization.jsonObject(with: Data(result.outputBytes)) as? [String: Any])
            #expect(summary["virtual-size"] as? Int == Self.length)
            #expect(summary["target"] as? String == link.string)
            let format = options.last ?? old
            try await Peers.expectEqual(backup.string, "qcow2", disk.string, format)
            var status = stat()
            try #require(lstat(link.string, &status) == 0)
            #expect(status.st_mode & S_IFMT == S_IFLNK)
            try #require(stat(disk.string, &status) == 0)
            #expect(status.st_mode & 0o777 == 0o640)
            #expect(try !directory.names().contains { $0.hasSuffix(".partial") })
        }
    }

    /// What the old disk had beside its content is named before it goes, and its layout stays.
    @Test(arguments: [
        [], ["-o", "cluster_size=32k"], ["-o", "extended_l2=off"], ["-O", "raw"], ["-o", "compat=0.10"],
    ])
    func lossesAndLayout(options: [String]) async throws {
        try await withTemporaryDirectory { directory in
            let backup = try await makeBackup(in: directory)
            let disk = directory.file("disk.qcow2")
            try await Peers.create(disk, "cluster_size=128k,extended_l2=on,compression_type=zstd", 2 << 20)
            try await Program.qemuIMG.runSuccessfully(["bitmap", "--add", disk.string, "nightly"])
            try await Program.qemuIMG.runSuccessfully(["snapshot", "-c", "before", disk.string])
            let result = try await Program.qcowbackup.runSuccessfully(
                ["restore", "--force", "-q"] + options + [backup.string, disk.string])
            let lines = result.standardError.split(separator: "\n")
            #expect(lines.count == 2, "\(result)")
            #expect(lines.contains { $0.contains("has dirty bitmaps") && $0.contains("'nightly'") }, "\(result)")
            #expect(lines.contains { $0.contains("has 1 internal snapshot") }, "\(result)")
            guard options != ["-O", "raw"] else { return }
            try await Peers.expectEqual(backup.string, "qcow2", disk.string)
            let info = try await Peers.info(disk)
            let layout = try #require(info.specific?.data)
            switch options.last {
            case nil: #expect(info.clusterSize == 131072 && layout.extendedL2 == true)
            case "cluster_size=32k": #expect(info.clusterSize == 32768 && layout.extendedL2 == false)
            case "compat=0.10": #expect(info.clusterSize == 65536 && layout.compat == "0.10")
            default: #expect(layout.extendedL2 == false)
            }
            if options.last != "compat=0.10" { #expect(layout.compressionType == "zstd") }
        }
    }

    /// So do the version of the format, and how refcounts are kept.
    @Test(arguments: ["compat=0.10", "lazy_refcounts=on,refcount_bits=32", "refcount_bits=1"])
    func version(options: String) async throws {
        try await withTemporaryDirectory { directory in
            let backup = try await makeBackup(in: directory)
            let disk = directory.file("disk.qcow2")
            try await Peers.create(disk, options, 2 << 20)
            func layout() async throws -> String {
                let info = try await Program.qemuIMG.runSuccessfully(["info", disk.string])
                return info.standardOutput.split(separator: "\n")
                    .filter { line in ["compat:", "lazy refcounts:", "refcount bits:"].contains { line.contains($0) } }
                    .joined(separator: "\n")
            }
            let before = try await layout()
            #expect(!before.isEmpty)
            try await Program.qcowbackup.runSuccessfully(["restore", "--force", "-q", backup.string, disk.string])
            #expect(try await layout() == before)
        }
    }

    /// The data file of the old disk stays, and is named; as the new one's it is replaced with it.
    @Test(arguments: [[], ["-o", "data_file=disk.data"]])
    func dataFile(options: [String]) async throws {
        try await withTemporaryDirectory { directory in
            let backup = try await makeBackup(in: directory)
            let disk = directory.file("disk.qcow2")
            try await Peers.create(disk, "data_file=\(directory.file("disk.data").string)", 2 << 20)
            let result = try await Program.qcowbackup.runSuccessfully(
                ["restore", "--force", "-q"] + options + [backup.string, disk.string])
            #expect(result.standardError.contains("disk.data, which nothing uses") == options.isEmpty, "\(result)")
            #expect(result.standardError.split(separator: "\n").count == (options.isEmpty ? 1 : 0), "\(result)")
            #expect(directory.exists("disk.data"))
            try await Peers.expectEqual(backup.string, "qcow2", disk.string)
        }
    }

    /// Until its end a run leaves the disk as it was; one that is asked to end leaves nothing else either.
    @Test(.enabled(if: Program.strace.isInstalled, "strace is missing"), arguments: [SIGTERM, SIGINT])
    func asked(signal: Int32) async throws {
        try await withTemporaryDirectory { directory in
            let backup = try await makeBackup(in: directory)
            let disk = directory.file("disk.qcow2")
            try await Peers.create(disk, "", 1 << 20)
            let before = try directory.content()
            // Slow enough to be met while it copies.
            let running = try Program.qcowbackup.start(
                ["restore", "--force", "--speed=1K", "--progress=json", backup.string, disk.string])
            try await running.waitForOutput("\"type\":\"progress\"")
            let old = try directory.read("disk.qcow2")
            #expect(Data(old) == before["disk.qcow2"])
            running.signal(signal)
            let result = try await running.wait()
            #expect(result.exitCode == 128 + signal, "\(result)")
            #expect(try directory.content() == before)
        }
    }

    private static let losetup = Program("losetup")

    /// Whether a file can be made a block device.
    private static func canMakeDevice() async throws -> Bool {
        guard losetup.isInstalled, geteuid() == 0 else { return false }
        return try await withTemporaryDirectory { directory in
            try directory.write([UInt8](repeating: 0, count: 4096), to: "disk")
            let made = try await losetup.run(["--find", "--show", directory.file("disk").string])
            guard made.exitCode == 0 else { return false }
            try await losetup.runSuccessfully(["--detach", device(made)])
            return true
        }
    }

    private static func device(_ result: ProgramResult) -> String {
        result.standardOutput.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// Raw, without being asked for. What is too small is not touched.
    @Test(
        .enabled("needs a loop device", { try await RestorePlaceTests.canMakeDevice() }), arguments: [-512, 0, 65536])
    func blockDevice(difference: Int) async throws {
        try await withTemporaryDirectory { directory in
            let backup = try await makeBackup(in: directory)
            let old = [UInt8](repeating: 0xEE, count: Self.length + difference)
            try directory.write(old, to: "disk")
            let made = try await Self.losetup.runSuccessfully(["--find", "--show", directory.file("disk").string])
            let device = Self.device(made)
            let refused = try await Program.qcowbackup.run(["restore", backup.string, device])
            let result = try await Program.qcowbackup.run(["restore", "-n", "-q", backup.string, device])
            try await Self.losetup.runSuccessfully(["--detach", device])
            #expect(refused.exitCode == 1 && refused.standardError.contains("-n writes into it"), "\(refused)")
            let bytes = try directory.read("disk")
            guard difference >= 0 else {
                #expect(result.exitCode == 2, "\(result)")
                #expect(
                    result.standardError.contains("has \(old.count) bytes and the source \(Self.length)"), "\(result)")
                #expect(bytes == old)
                return
            }
            #expect(result.exitCode == 0, "\(result)")
            #expect(result.standardError.contains("longer than the disk") == (difference > 0), "\(result)")
            #expect(Array(bytes[Self.length...]) == Array(old[Self.length...]))
            try directory.write(Array(bytes[..<Self.length]), to: "disk")
            try await Peers.expectEqual(backup.string, "qcow2", directory.file("disk").string, "raw")
        }
    }
}
