// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import FormatTestSupport
import Foundation
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

/// Healthy and damaged images: the same numbers and exit codes as qemu-img's, and after a repair it finds nothing wrong.
@Suite(.limited, .enabled(if: Program.qemuIMG.isInstalled, "qemu-img is missing"))
struct CheckPeerTests {
    static let kinds: [ImageCase] = {
        var small = ImageCase(clusterBits: 9)
        small.refcountOrder = 3
        var wide = ImageCase(clusterBits: 9)
        wide.refcountOrder = 6
        var usual = ImageCase(clusterBits: 16)
        usual.compressionType = .zstd
        var old = ImageCase(clusterBits: 10)
        old.version = 2
        var extended = ImageCase(clusterBits: 14)
        extended.hasExtendedL2 = true
        var data = ImageCase(clusterBits: 12)
        data.dataFile = .plain
        return [small, wide, usual, old, extended, data]
    }()

    /// Two snapshots that share tables with the disk, and one bitmap.
    private static func addSnapshots(to image: FilePath) async throws {
        try await Program.qemuIMG.runSuccessfully(["snapshot", "-c", "first", image.string])
        try await Program.qemuIO.runSuccessfully([
            "-t", "unsafe", "-f", "qcow2", "-c", "write -P 3 0 5000", image.string,
        ])
        try await Program.qemuIMG.runSuccessfully(["snapshot", "-c", "second", image.string])
        try await Program.qemuIMG.runSuccessfully(["bitmap", "--add", "-f", "qcow2", image.string, "b"])
    }

    @Test(arguments: kinds.indices, [false, true]) func damagedImages(index: Int, hasSnapshots: Bool) async throws {
        let kind = Self.kinds[index]
        // A refcount of 1 is the largest that one bit has; data files and snapshots don't go together, nor do old images
        // and bitmaps.
        if hasSnapshots, kind.dataFile != .none || kind.version == 2 || !Program.qemuIO.isInstalled { return }
        try await withTemporaryDirectory { directory in
            let model = try await ImageDamage.image(kind, steps: 6)
            let path = directory.file("image.qcow2")
            try directory.write((model.file as! MemoryDevice).snapshot.allBytes, to: "image.qcow2")
            if let data = model.dataFile { try directory.write(data.snapshot.allBytes, to: "data.raw") }
            if hasSnapshots { try await Self.addSnapshots(to: path) }
            let original = try directory.read("image.qcow2")
            var random = SeededRandom(seed: UInt64(index) * 2 + (hasSnapshots ? 1 : 0))
            for round in 0..<(isHeavyRun ? 500 : 14) {
                var bytes = original
                if round > 0 { ImageDamage.apply(to: &bytes, &random) }
                try directory.write(bytes, to: "image.qcow2")
                let peer = try await CheckNumbers.ofPeer(path, in: directory.path)
                let report = try await Qcow2Check(MemoryDevice(bytes: bytes)).run()
                let ours = CheckNumbers(report, without: CheckNumbers.ownKinds)
                if let numbers = peer.numbers, peer.exitCode != 1 {
                    #expect(ours == numbers, "round \(round)")
                    #expect(ours.exitCode == peer.exitCode, "round \(round)")
                } else {
                    try await judgeUnopened(bytes, ours, kind, "round \(round): \(peer.error.suffix(300))")
                }
                try await repair(bytes, in: directory, path, "round \(round)")
            }
        }
    }

    /// It gives up at the first thing that keeps it from opening the image: we go on, and say that not all was checked.
    /// Names of other files are not looked at here.
    private func judgeUnopened(
        _ bytes: [UInt8], _ ours: CheckNumbers, _ kind: ImageCase, _ context: String
    ) async throws {
        let header = try? await Qcow2File(MemoryDevice(bytes: bytes)).references
        let namesOthers = header.map { $0.backingFileName != nil || $0.hasExternalDataFile } ?? false
        #expect(ours.exitCode == 1 || namesOthers, "\(context): \(ours)")
    }

    private func repair(
        _ bytes: [UInt8], in directory: TemporaryDirectory, _ path: FilePath, _ context: String
    ) async throws {
        let device = MemoryDevice(bytes: bytes)
        let outcome = try await Qcow2Check(device).repair(.all) { _ in }
        guard !outcome.before.isClean, outcome.after.isClean else { return }
        // A table in a last cluster that is cut short is put up with, though not by our reader.
        guard let references = try? await Qcow2File(device).references else { return }
        guard references.backingFileName == nil,
            !references.hasExternalDataFile || references.dataFileName == "data.raw"
        else { return }
        try directory.write(device.snapshot.allBytes, to: "image.qcow2")
        let peer = try await CheckNumbers.ofPeer(path, in: directory.path)
        #expect(peer.exitCode == 0, "\(context): \(outcome.before.problems.prefix(5)) \(peer)")
    }
}
