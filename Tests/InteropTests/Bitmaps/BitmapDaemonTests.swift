// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import FormatTestSupport
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

/// Persistent bitmaps of a storage daemon: those it saved are read; those it could not save, because it was killed, are
/// known as inconsistent and can be removed; while it runs the image is its own.
@Suite(
    .limited,
    .enabled(
        if: BitmapPeers.areInstalled && Program.qemuStorageDaemon.isInstalled && Program.qcowbackup.isInstalled,
        "qemu-storage-daemon, qcowbackup or what goes with them is missing"))
struct BitmapDaemonTests {
    private func bitmaps(_ image: FilePath) async throws -> BitmapState {
        let file = try LocalStorage.open(image.string, access: .readOnly, lock: .readOnlySource)
        // QEMU keeps no order.
        return try await BitmapState(Qcow2File(file).openBitmaps()).sorted
    }

    @Test(arguments: ["cluster_size=64k", "cluster_size=4k", "cluster_size=64k,extended_l2=on,compression_type=zstd"])
    func savedAndKilled(options: String) async throws {
        let directory = try TemporaryDirectory()
        let image = directory.file("image.qcow2")
        try await Peers.create(image, options, 4 << 20)
        do {
            let daemon = try await BitmapDaemon(image)
            try await daemon.command(
                "block-dirty-bitmap-add",
                #"{"node": "disk", "name": "live", "granularity": 65536, "persistent": true}"#)
            try await daemon.write(["write -q -P 1 70000 1000", "write -q -z 2M 64k"])
            try await daemon.command(
                "block-dirty-bitmap-add",
                #"{"node": "disk", "name": "off", "granularity": 512, "persistent": true, "disabled": true}"#)
            try await daemon.write(["write -q -P 2 3M 4k"])
            // Nobody else touches the image meanwhile, and it has no trace of them yet.
            for arguments in [["list"], ["add"], ["remove"]] {
                let names = arguments == ["list"] ? [] : ["live"]
                let result = try await Program.qcowbackup.run(["bitmap"] + arguments + [image.string] + names)
                #expect(result.exitCode == 11, "\(result)")
            }
            daemon.running.signal(15)
            _ = try await daemon.running.wait()
        }
        let saved = try await bitmaps(image)
        #expect(saved == (try await BitmapPeers.state(of: image).sorted))
        let granule: UInt64 = 65536
        let (two, three) = (UInt64(2 << 20), UInt64(3 << 20))
        let areas: [Range<UInt64>] = [granule..<2 * granule, two..<two + granule, three..<three + granule]
        let live = BitmapState.Bitmap(name: "live", granularity: granule, isRecording: true, areas: areas)
        #expect(saved.bitmaps == [live, BitmapState.Bitmap(name: "off", granularity: 512, isRecording: false)])

        // What we store goes on where it was.
        let cleared = try await Program.qcowbackup.run(["bitmap", "clear", image.string, "live"])
        #expect(cleared.exitCode == 0 && cleared.standardError.isEmpty && cleared.standardOutput.isEmpty)
        do {
            let daemon = try await BitmapDaemon(image)
            try await daemon.write(["write -q -P 3 1M 64k"])
            let forced = try await Program.qcowbackup.run(["bitmap", "list", "-U", image.string])
            #expect(forced.exitCode == 0 && forced.standardOutput.contains("live  64 KiB"), "\(forced)")
            #expect(forced.standardOutput.contains("inconsistent"))
            daemon.running.signal(15)
            _ = try await daemon.running.wait()
        }
        let afterwards: [Range<UInt64>] = [1 << 20..<1 << 20 + 65536]
        #expect(try await bitmaps(image).bitmaps[0].areas == afterwards)

        do {
            let daemon = try await BitmapDaemon(image)
            try await daemon.write(["write -q -P 4 0 64k"])
            daemon.running.signal(9)
            _ = try await daemon.running.wait()
        }
        let lost = try await bitmaps(image)
        #expect(lost.bitmaps.map(\.defect) == [.inconsistent, .inconsistent])
        #expect(lost == (try await BitmapPeers.state(of: image).sorted))
        for command in [["clear"], ["enable"], ["disable"]] {
            let result = try await Program.qcowbackup.run(["bitmap"] + command + [image.string, "live"])
            #expect(result.exitCode == 1 && result.standardError.contains("inconsistent"), "\(result)")
        }
        for name in ["live", "off"] {
            try await Program.qcowbackup.runSuccessfully(["bitmap", "remove", image.string, name])
            try await Peers.expectClean(image)
        }
        try await Program.qcowbackup.runSuccessfully(["bitmap", "add", "-g", "1M", image.string, "live"])
        #expect(
            try await BitmapPeers.state(of: image).bitmaps
                == [.init(name: "live", granularity: 1 << 20, isRecording: true)])
    }
}
