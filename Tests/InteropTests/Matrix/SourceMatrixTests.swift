// SPDX-License-Identifier: GPL-2.0-or-later

import SystemPackage
import TestSupport
import Testing

/// Random disks in random chains of images that QEMU made, backed up to images of random shape: QEMU finds the same
/// disk, no errors, no leaks, nothing that the topmost image doesn't hold in a backup of it, and no more room taken than
/// it takes itself.
@Suite(.limited, .enabled(if: Peers.areInstalled, Peers.missing))
struct SourceMatrixTests {
    static let seeds: Range<UInt64> = 0..<(isHeavyRun ? 150 : 13)

    @Test(arguments: seeds)
    func backup(seed: UInt64) async throws {
        var random = SeededRandom(seed: seed)
        // Every feature comes up among the first seeds.
        var shape = ImageShape(random: &random)
        shape.clusterSize = 512 << (seed % 13)
        if seed % 4 == 1, shape.isVersion3, shape.clusterSize >= 16384 { shape.extendedL2 = true }
        if shape.clusterSize < 16384 { shape.extendedL2 = false }
        try await withTemporaryDirectory { directory in
            let disk = try await RandomDisk(shape, layers: Int(seed % 3) + 1, in: directory, random: &random)
            let before = try directory.content()
            for sync in ["full", "top"] {
                try await backUp(disk, sync: sync, in: directory, random: &random)
            }
            let after = try directory.content()
            for (name, bytes) in before {
                #expect(after[name] == bytes, "\(name) changed")
            }
        }
    }

    private func backUp(
        _ disk: RandomDisk, sync: String, in directory: TemporaryDirectory, random: inout SeededRandom
    ) async throws {
        var shape = ImageShape(random: &random)
        if sync == "top", disk.backing != nil, shape.dataFile == .raw { shape.dataFile = .plain }
        let compresses = shape.dataFile == .none && Bool.random(using: &random)
        let target = directory.file("\(sync).qcow2")
        let options = shape.options(dataPath: directory.file("\(sync).data").string)
        let arguments = ["--sync=\(sync)", "-o", options] + (compresses ? ["-c"] : [])
        let comment = Comment(rawValue: "\(disk.layers.count) layers: \(arguments.joined(separator: " "))")

        try await Peers.backUp(disk.path, to: target, arguments)

        try await Peers.expectClean(target, about: comment)
        try await Peers.expectEqual(disk.path.string, "qcow2", target.string, about: comment)
        if sync == "top", disk.backing != nil {
            #expect(try await Peers.info(target).backingFileName == disk.backing?.string)
            try await TopRule.expect(
                target, toHoldWhatIsIn: disk.path, targetClusterSize: shape.clusterSize, comment)
        } else if shape.dataFile == .none {
            let peer = directory.file("peer.qcow2")
            try await Program.qemuIMG.runSuccessfully(
                ["convert", "-t", "unsafe", "-O", "qcow2", "-o", options] + (compresses ? ["-c"] : [])
                    + [disk.path.string, peer.string])
            let ours = try await Peers.info(target).actualSize
            let theirs = try await Peers.info(peer).actualSize
            // ISA-L's deflate takes a little more than zlib's; host clusters may be filled in another order.
            let allowed = theirs + theirs / 8 + 2 * max(65536, shape.clusterSize)
            #expect(ours <= allowed, "\(ours) bytes, qemu-img \(theirs): \(comment)")
        }
    }
}
