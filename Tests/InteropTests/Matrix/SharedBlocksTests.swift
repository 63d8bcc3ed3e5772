// SPDX-License-Identifier: GPL-2.0-or-later

import SystemPackage
import TestSupport
import Testing

/// Where the file system can, a backup shares its blocks with the disk, and is proven like any other.
@Suite(.limited, .serialized, .enabled(if: Peers.areInstalled, Peers.missing)) struct SharedBlocksTests {
    private static let length = 24 << 20

    @Test(
        .enabled(if: !LoopFileSystem.available.isEmpty, LoopDevice.missing), arguments: LoopFileSystem.available,
        ["qcow2", "raw"])
    func shares(_ fileSystem: LoopFileSystem, format: String) async throws {
        try await withTemporaryDirectory { directory in
            try await fileSystem.with(in: directory) { folder in
                let disk = FilePath("\(folder)/disk.qcow2")
                let target = FilePath("\(folder)/out")
                try await Peers.create(disk, "", UInt64(Self.length))
                // All data between two holes, with a last cluster that is not whole blocks of a raw file.
                try await Peers.io(
                    disk, ["write -q -P 1 1M 9M", "write -q -P 2 12M 8M", "write -q -P 3 \((24 << 20) - 512) 512"])
                let result = try await Program.qcowbackup.run([
                    "--output=json", "-f", "qcow2", "-O", format, disk.string, target.string,
                ])
                #expect(result.exitCode == 0, "\(result)")
                let offloaded = result.standardOutput.matches(of: /"bytes-offloaded": ?(\d+)/).last.flatMap {
                    Int($0.1)
                }
                #expect(offloaded ?? 0 >= 17 << 20, "\(result)")
                let map = try await Program("filefrag").runSuccessfully(["-v", target.string])
                #expect(map.standardOutput.contains("shared"), "\(map)")
                try await Peers.expectEqual(disk.string, "qcow2", target.string, format)
                let verified = try await Program.qcowbackup.run(["verify", "-q", target.string])
                #expect(verified.exitCode == 0, "\(verified)")
                // The disk goes its own way.
                try await Peers.io(disk, ["write -q -P 9 1M 4M"])
                let again = try await Program.qcowbackup.run(["verify", "-q", target.string])
                #expect(again.exitCode == 0, "\(again)")
            }
        }
    }
}
