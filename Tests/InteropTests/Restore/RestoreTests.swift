// SPDX-License-Identifier: GPL-2.0-or-later

import SystemPackage
import TestSupport
import Testing

/// A disk of known bytes comes back from its backups, by QEMU's means alone.
@Suite(.limited, .enabled(if: Peers.areInstalled, Peers.missing))
struct RestoreTests {
    static let ways = [
        ["--sync=full"], ["--sync=full", "-c"], ["--sync=full", "-c", "--compression-type=zstd"],
        ["--sync=full", "-o", "extended_l2=on"], ["--sync=top"], ["--sync=top", "-c"],
    ]

    /// Makes a disk of known bytes in two layers, and returns the upper one.
    private func makeDisk(in directory: TemporaryDirectory) async throws -> (path: FilePath, bytes: [UInt8]) {
        var random = SeededRandom(seed: 77)
        let length = (3 << 20) + 1536
        var bytes = [UInt8](repeating: 0, count: length)
        bytes.replaceSubrange(100_000..<800_000, with: random.bytes(count: 700_000))
        bytes.replaceSubrange(1_500_000..<2_000_000, with: random.compressibleBytes(count: 500_000))
        bytes[length - 1] = 0xEE
        try directory.write(bytes, to: "base.raw")
        let base = directory.file("base.qcow2")
        try await Program.qemuIMG.runSuccessfully(
            ["convert", "-f", "raw", "-O", "qcow2", directory.file("base.raw").string, base.string])
        let top = directory.file("top.qcow2")
        try await Peers.create(top, "", UInt64(length), backing: base)
        try await Peers.io(top, ["write -q -P 0x5a 1M 200k", "write -q -z 300k 100k"])
        bytes.replaceSubrange((1 << 20)..<(1 << 20) + (200 << 10), with: repeatElement(0x5A, count: 200 << 10))
        bytes.replaceSubrange((300 << 10)..<(400 << 10), with: repeatElement(0, count: 100 << 10))
        return (top, bytes)
    }

    @Test(arguments: ways)
    func convert(way: [String]) async throws {
        try await withTemporaryDirectory { directory in
            let disk = try await makeDisk(in: directory)
            let target = directory.file("backup.qcow2")
            try await Peers.backUp(disk.path, to: target, way)
            try await Program.qemuIMG.runSuccessfully(
                ["convert", "-f", "qcow2", "-O", "raw", target.string, directory.file("restored.raw").string])
            #expect(try directory.read("restored.raw") == disk.bytes)
        }
    }

    @Test(
        .enabled(if: Program.qemuStorageDaemon.isInstalled, "qemu-storage-daemon is missing"), arguments: ways)
    func export(way: [String]) async throws {
        try await withTemporaryDirectory { directory in
            let disk = try await makeDisk(in: directory)
            let target = directory.file("backup.qcow2")
            try await Peers.backUp(disk.path, to: target, way)
            let socket = directory.file("nbd.sock")
            // Writable, as a disk for a guest to go on with.
            let daemon = try Program.qemuStorageDaemon.start([
                "--blockdev", "driver=qcow2,node-name=disk,file.driver=file,file.filename=\(target)",
                "--nbd-server", "addr.type=unix,addr.path=\(socket)",
                "--export", "type=nbd,id=export,node-name=disk,name=disk,writable=on",
                "--chardev", "stdio,id=monitor", "--monitor", "chardev=monitor",
            ])
            try await daemon.waitForOutput("QMP")
            let url = "nbd+unix:///disk?socket=\(socket)"
            try await Program.qemuIMG.runSuccessfully(
                ["convert", "-f", "raw", "-O", "raw", url, directory.file("restored.raw").string])
            #expect(try directory.read("restored.raw") == disk.bytes)
            try await Program.qemuIO.runSuccessfully(["-f", "raw", "-c", "write -q -P 0x21 64k 300k", url])
            daemon.signal(15)
            _ = try await daemon.wait()
            try await Peers.expectClean(target)
        }
    }

    /// A backup of the topmost image can be merged into its backing file, as any overlay.
    @Test(arguments: [["--sync=top"], ["--sync=top", "-c"]])
    func commit(way: [String]) async throws {
        try await withTemporaryDirectory { directory in
            let disk = try await makeDisk(in: directory)
            let target = directory.file("backup.qcow2")
            try await Peers.backUp(disk.path, to: target, way)
            try await Program.qemuIMG.runSuccessfully(["commit", "-q", target.string])
            try await Program.qemuIMG.runSuccessfully([
                "convert", "-O", "raw", directory.file("base.qcow2").string, directory.file("restored.raw").string,
            ])
            #expect(try directory.read("restored.raw") == disk.bytes)
        }
    }
}
