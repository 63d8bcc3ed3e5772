// SPDX-License-Identifier: GPL-2.0-or-later

import SystemPackage
import TestSupport
import Testing

/// Block devices as sources and as targets.
@Suite(
    .limited, .serialized, .enabled(if: Peers.areInstalled, Peers.missing),
    .enabled(if: LoopDevice.areAvailable, LoopDevice.missing))
struct BlockDeviceTests {
    private static let length = 8 << 20

    private static func disk(_ seed: String, in directory: TemporaryDirectory) async throws -> FilePath {
        var random = SeededRandom(text: seed)
        let disk = directory.file("disk.qcow2")
        try await Peers.create(disk, "", UInt64(length))
        let writes = (0..<12).map { index in
            let range = random.range(below: UInt64(length), alignment: 512)
            return "write -q -P \(index + 1) \(range.lowerBound) \(range.count)"
        }
        try await Peers.io(disk, writes)
        return disk
    }

    @Test(arguments: [["-O", "raw", "--force"], ["-O", "raw", "-n"]], [0, 4096])
    func rawTarget(arguments: [String], longerBy rest: Int) async throws {
        try await withTemporaryDirectory { directory in
            let disk = try await Self.disk("raw \(arguments)", in: directory)
            try await LoopDevice.with(length: Self.length + rest, in: directory) { device in
                let result = try await Program.qcowbackup.run(arguments + [disk.string, device.path])
                #expect(result.exitCode == 0, "\(result)")
                #expect(result.standardError.contains("is longer than the disk") == (rest > 0))
                let copy = try await Program("dd").runSuccessfully([
                    "if=\(device.path)", "of=\(directory.file("copy"))", "bs=1M", "iflag=direct", "status=none",
                ])
                #expect(copy.standardError.isEmpty)
            }
            let bytes = try directory.read("copy")
            #expect(bytes.count == Self.length + rest)
            #expect(bytes[Self.length...].allSatisfy { $0 == 0x5A }, "what lies behind the disk stays")
            try directory.write(Array(bytes[..<Self.length]), to: "copy")
            try await Peers.expectEqual(disk.string, "qcow2", directory.file("copy").string, "raw")
        }
    }

    @Test(arguments: [[], ["-c"], ["-o", "cluster_size=4k"]])
    func qcow2Target(options: [String]) async throws {
        try await withTemporaryDirectory { directory in
            let disk = try await Self.disk("qcow2 \(options)", in: directory)
            try await LoopDevice.with(length: Self.length * 2, in: directory) { device in
                let refused = try await Program.qcowbackup.run(["-q", disk.string, device.path])
                #expect(refused.exitCode == 1 && refused.standardError.contains("--force"), "\(refused)")
                try await Peers.backUp(disk, to: FilePath(device.path), ["--force"] + options)
                try await Peers.expectClean(FilePath(device.path))
                try await Peers.expectEqual(disk.string, "qcow2", device.path)
            }
        }
    }

    @Test func source() async throws {
        try await withTemporaryDirectory { directory in
            let copy = directory.file("copy.qcow2")
            try await LoopDevice.with(length: Self.length, in: directory) { device in
                try await Peers.backUp(FilePath(device.path), to: copy, ["-f", "raw"])
                try await Peers.expectEqual(device.path, "raw", copy.string)
            }
            try await Peers.expectClean(copy)
        }
    }

    @Test func tooSmall() async throws {
        try await withTemporaryDirectory { directory in
            let disk = try await Self.disk("small", in: directory)
            try await LoopDevice.with(length: Self.length - 4096, in: directory) { device in
                let result = try await Program.qcowbackup.run(["-q", "-O", "raw", "--force", disk.string, device.path])
                #expect(result.exitCode != 0 && result.standardError.split(separator: "\n").count == 1, "\(result)")
            }
            #expect(try directory.read("device").allSatisfy { $0 == 0x5A })
        }
    }

    /// Whatever is asked for, a file system that is in use is not written over.
    @Test(arguments: [["-O", "raw", "--force"], ["-O", "raw", "-n"], ["--force"]])
    func mounted(arguments: [String]) async throws {
        try await withTemporaryDirectory { directory in
            let disk = try await Self.disk("mounted", in: directory)
            try await LoopDevice.with(length: Self.length, in: directory) { device in
                try await Program("mkfs.ext4").runSuccessfully(["-q", device.path])
                let point = directory.file("point").string
                try await Program("mkdir").runSuccessfully([point])
                try await Program("mount").runSuccessfully([device.path, point])
                let result = try? await Program.qcowbackup.run(["-q"] + arguments + [disk.string, device.path])
                try await Program("umount").runSuccessfully([point])
                #expect(result?.exitCode == 11, "\(String(describing: result))")
                #expect(result?.standardError.contains("it is mounted") == true)
                try await Program("e2fsck").runSuccessfully(["-fn", device.path])
            }
        }
    }
}
