// SPDX-License-Identifier: GPL-2.0-or-later

import SystemPackage
import TestSupport
import Testing

/// Chains by a bitmap that a storage daemon keeps while guests write: shut down, it has saved the bitmap; killed, it has
/// not, and the next backup must be a full one.
@Suite(
    .limited,
    .enabled(
        if: ChainNeeds.all && Program.qemuStorageDaemon.isInstalled,
        "qemu-storage-daemon, qcowbackup or what goes with them is missing"))
struct ChainDaemonTests {
    @Test func shutDownAndKilled() async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await ChainedDisk(in: directory, length: 8 << 20, seed: 51)
            do {
                let daemon = try await BitmapDaemon(disk.path)
                try await daemon.command(
                    "block-dirty-bitmap-add", #"{"node": "disk", "name": "b0", "persistent": true}"#)
                try await daemon.write(["write -q -P 1 1M 100k"])
                // While it runs, the disk is its own.
                let refused = try await Program.qcowbackup.run([
                    "--bitmap=b0", disk.path.string, disk.next.string,
                ])
                #expect(refused.exitCode == 11, "\(refused)")
                try await close(daemon)
            }
            try await disk.backUp(["--bitmap=b0"])
            for round: UInt8 in 2...4 {
                let daemon = try await BitmapDaemon(disk.path)
                try await daemon.write([
                    "write -q -P \(round) \(round)M 70k", "write -q -z 1M 64k", "discard -q 6M 64k",
                    "write -q -P \(round) 512 512",
                ])
                try await close(daemon)
                try await disk.increment()
            }
            do {
                let daemon = try await BitmapDaemon(disk.path)
                try await daemon.write(["write -q -P 9 7M 64k"])
                daemon.running.signal(9)
                _ = try await daemon.running.wait()
            }
            let arguments = ["--sync=incremental", "--bitmap=b0", "-b", disk.last.string]
            let refused = try await Program.qcowbackup.run(arguments + [disk.path.string, disk.next.string])
            #expect(refused.exitCode == 1 && refused.standardError.contains("is inconsistent"), "\(refused)")
            let result = try await Program.qcowbackup.run(
                ["-q", "--strict", "--fallback=full"] + arguments + [disk.path.string, disk.next.string])
            #expect(result.exitCode == 4, "\(result)")
            try disk.keep(disk.next)
            do {
                let daemon = try await BitmapDaemon(disk.path)
                try await daemon.write(["write -q -P 10 4M 64k"])
                try await close(daemon)
            }
            try await disk.increment()
            try await disk.judge()
            try await disk.judgeFlattened()
        }
    }

    private func close(_ daemon: BitmapDaemon) async throws {
        daemon.running.signal(15)
        _ = try await daemon.running.wait()
    }
}
