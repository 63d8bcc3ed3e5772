// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DiskChain
import FormatTestSupport
import Foundation
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

/// Whatever a check calls clean, at once or after a repair, the program reads, and it sees the same bytes as qemu-img where
/// that can read the image.
@Suite(.limited, .enabled(if: Peers.areInstalled, Peers.missing))
struct CleanImagePeerTests {
    /// Images that are refused although a check finds nothing, for what a check doesn't look at: compressed data, what the
    /// user has to say.
    private static let refused: Set<String> = [
        "bad-backing-without-format", "bad-snapshot-absent", "bad-truncated-in-compressed-data", "bad-zlib-garbage",
        "bad-zlib-long", "bad-zlib-short", "bad-zstd-garbage", "bad-zstd-long", "bad-zstd-short",
    ]

    private static func fixtures() throws -> [Fixture] {
        try Fixture.all().filter { $0.facts.format == .qcow2 && !refused.contains($0.name) }
    }

    @Test(arguments: try fixtures()) func fixture(_ fixture: Fixture) async throws {
        try await withTemporaryDirectory { directory in
            let image = try fixture.copyIntoPlace(directory)
            let check = try await Program.qcowbackup.run(["check", "-q", "-f", "qcow2", image.string])
            if check.exitCode != 0 {
                guard isHeavyRun || fixture.name.utf8.count % 3 == 0 || fixture.facts.check?.exitCode == 2 else {
                    return
                }
                let repair = try await Program.qcowbackup.run(["check", "-q", "-r", "all", "-f", "qcow2", image.string])
                guard repair.exitCode == 0 else { return }
            }
            try await expectReadable(image, in: directory, all: isHeavyRun || check.exitCode != 0, "\(fixture)")
        }
    }

    /// Backs the image up, and compares what came out with what qemu-img reads.
    ///
    /// - Parameter all: whether the other commands have to read it as well.
    private func expectReadable(
        _ image: FilePath, in directory: TemporaryDirectory, all: Bool, _ context: Comment
    ) async throws {
        let raw = directory.file("ours.raw").string
        let backup = try await Program.qcowbackup.run([
            "-q", "-f", "qcow2", "-O", "raw", "--digest=none", image.string, raw,
        ])
        #expect(backup.exitCode == 0, "\(context): \(backup)")
        let peer = try await Program.qemuIMG.run(
            ["convert", "-f", "qcow2", "-O", "raw", image.lastComponent!.string, "theirs.raw"],
            directory: directory.path)
        if peer.exitCode == 0 {
            try await Peers.expectEqual("ours.raw", "raw", "theirs.raw", "raw", in: directory.path, about: context)
        }
        guard all else { return }
        for words in [
            ["map", "-f", "qcow2", image.string], ["compare", "-f", "qcow2", "-F", "raw", image.string, raw],
            ["restore", "-q", image.string, directory.file("restored.qcow2").string],
        ] {
            let result = try await Program.qcowbackup.run(words)
            #expect(result.exitCode == 0, "\(context): \(result)")
        }
    }

    @Test(arguments: CheckPeerTests.kinds.indices, [false, true])
    func damagedImages(index: Int, hasSnapshots: Bool) async throws {
        let kind = CheckPeerTests.kinds[index]
        if hasSnapshots, kind.dataFile != .none || kind.version == 2 { return }
        try await withTemporaryDirectory { directory in
            let model = try await ImageDamage.image(kind, steps: 6)
            let path = directory.file("image.qcow2")
            try directory.write((model.file as! MemoryDevice).snapshot.allBytes, to: "image.qcow2")
            if let data = model.dataFile { try directory.write(data.snapshot.allBytes, to: "data.raw") }
            if hasSnapshots {
                try await Program.qemuIMG.runSuccessfully(["snapshot", "-c", "first", path.string])
                try await Peers.io(path, ["write -P 3 0 5000"])
            }
            let original = try directory.read("image.qcow2")
            var random = SeededRandom(seed: UInt64(index) * 2 + (hasSnapshots ? 1001 : 1000))
            var compared = 0
            for round in 0..<(isHeavyRun ? 500 : 12) {
                var bytes = original
                ImageDamage.apply(to: &bytes, &random)
                let device = MemoryDevice(name: "image.qcow2", bytes: bytes)
                if try await !Qcow2Check(device).run().isClean {
                    guard try await Qcow2Check(device).repair(.all, announce: { _ in }).after.isClean else { continue }
                }
                let references = try await Qcow2File(device).references
                guard references.backingFileName == nil,
                    !references.hasExternalDataFile || references.dataFileName == "data.raw"
                else { continue }
                try directory.write(device.snapshot.allBytes, to: "image.qcow2")
                if try await compare(path, in: directory, "\(kind), round \(round)") { compared += 1 }
            }
            #expect(compared > 3)
        }
    }

    /// - Returns: whether qemu-img could read the image.
    private func compare(
        _ path: FilePath, in directory: TemporaryDirectory, _ context: Comment
    ) async throws -> Bool {
        let peer = try await Program.qemuIMG.run(
            ["convert", "-f", "qcow2", "-O", "raw", "image.qcow2", "theirs.raw"], directory: directory.path)
        let disk = try await DiskOpener().open(path.string, format: .qcow2)
        let bytes: [UInt8]
        do {
            bytes = try await disk.device.bytes(at: 0, count: Int(disk.device.length))
        } catch {
            // Garbage where compressed data should be is as unreadable to others.
            #expect("\(error)".contains("compressed cluster") && peer.exitCode != 0, "\(context): \(error) \(peer)")
            return false
        }
        guard peer.exitCode == 0 else { return false }
        let theirs = try directory.read("theirs.raw")
        #expect(haveSameBytes(bytes, theirs), "\(context)")
        return true
    }
}
