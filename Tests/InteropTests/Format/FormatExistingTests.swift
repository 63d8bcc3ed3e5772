// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import FormatTestSupport
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

/// Images made by qemu-img and qemu-io, changed by us: qemu-img finds no errors and no leaks, reads what was written, and
/// the snapshots hold what they held.
@Suite(
    .enabled(
        if: Program.qemuIMG.isInstalled && Program.qemuIO.isInstalled, "qemu-img and qemu-io are not both installed"))
struct FormatExistingTests {
    struct Case: Sendable, CustomStringConvertible {
        var options: String
        var clusterBits: Int
        var size: UInt64
        var hasSnapshots = true
        var seed: UInt64

        var description: String { "\(options) seed \(seed)" }
    }

    static let cases: [Case] = [
        Case(options: "cluster_size=64k", clusterBits: 16, size: 3 << 20, seed: 1),
        Case(options: "cluster_size=512", clusterBits: 9, size: 200 << 10, seed: 2),
        Case(options: "cluster_size=512,refcount_bits=2", clusterBits: 9, size: 200 << 10, seed: 3),
        Case(options: "cluster_size=4k,refcount_bits=1", clusterBits: 12, size: 614_400, hasSnapshots: false, seed: 4),
        Case(options: "cluster_size=4k,refcount_bits=4", clusterBits: 12, size: 600 << 10, seed: 5),
        Case(options: "cluster_size=4k,refcount_bits=64", clusterBits: 12, size: 600 << 10, seed: 6),
        Case(options: "cluster_size=16k,extended_l2=on", clusterBits: 14, size: 1 << 20, seed: 7),
        Case(options: "cluster_size=64k,extended_l2=on,compression_type=zstd", clusterBits: 16, size: 3 << 20, seed: 8),
        Case(options: "cluster_size=64k,compat=0.10", clusterBits: 16, size: (3 << 20) + 512, seed: 9),
        Case(options: "cluster_size=1k,compat=0.10", clusterBits: 10, size: 300 << 10, seed: 10),
        Case(options: "cluster_size=8k,preallocation=metadata", clusterBits: 13, size: 1 << 20, seed: 11),
        Case(options: "cluster_size=64k,lazy_refcounts=off,refcount_bits=32", clusterBits: 16, size: 3 << 20, seed: 12),
    ]

    /// Random writes, zeroes, discards and snapshots by qemu-io, so that free clusters lie scattered.
    private func make(_ one: Case, in directory: TemporaryDirectory) async throws {
        var random = SeededRandom(seed: one.seed)
        try await Program.qemuIMG.runSuccessfully(
            ["create", "-f", "qcow2", "-o", one.options, "image.qcow2", "\(one.size)"], directory: directory.path)
        for round in 0..<3 {
            var commands: [String] = []
            for index in 0..<25 {
                let range = random.range(below: one.size / 4, alignment: 512)
                let start = UInt64.random(in: 0...(one.size - UInt64(range.count)) / 512, using: &random) * 512
                let command =
                    switch index % 5 {
                    case 0: "discard \(start) \(range.count)"
                    case 1: "write -z \(start) \(range.count)"
                    default: "write -P \(UInt8.random(in: 1...255, using: &random)) \(start) \(range.count)"
                    }
                commands += ["-c", command]
            }
            let cluster = UInt64(1) << UInt64(one.clusterBits)
            let start = UInt64.random(in: 0..<one.size / cluster, using: &random) * cluster
            try await Program.qemuIO.runSuccessfully(
                ["-f", "qcow2", "-d", "unmap"] + commands + ["image.qcow2"], directory: directory.path)
            // Refused where the cluster is allocated.
            _ = try await Program.qemuIO.run(
                ["-f", "qcow2", "-c", "write -c -P 7 \(start) \(cluster)", "image.qcow2"], directory: directory.path)
            if one.hasSnapshots, round < 2 {
                try await Program.qemuIMG.runSuccessfully(
                    ["snapshot", "-c", "snapshot\(round)", "image.qcow2"], directory: directory.path)
            }
        }
        // Room in the middle: what this snapshot alone held is free again.
        if one.hasSnapshots {
            try await Program.qemuIMG.runSuccessfully(
                ["snapshot", "-d", "snapshot0", "image.qcow2"], directory: directory.path)
        }
    }

    private func content(
        _ directory: TemporaryDirectory, snapshot: String? = nil
    ) async throws -> [UInt8] {
        let select = snapshot.map { ["-l", "snapshot.name=\($0)"] } ?? []
        try await Program.qemuIMG.runSuccessfully(
            ["convert", "-f", "qcow2", "-O", "raw"] + select + ["image.qcow2", "content.raw"], directory: directory.path
        )
        return try directory.read("content.raw")
    }

    @Test(arguments: cases) func randomChanges(one: Case) async throws {
        let directory = try TemporaryDirectory()
        try await make(one, in: directory)
        let judge = FormatJudge(directory: directory)
        try await judge.check("\(one) before")
        let before = one.hasSnapshots ? try await content(directory, snapshot: "snapshot1") : []
        var kind = ImageCase(clusterBits: one.clusterBits)
        kind.seed = one.seed
        kind.sizeOverride = one.size
        let path = directory.file("image.qcow2").string
        let active = try await content(directory)
        do {
            let file = try LocalStorage.open(path, access: .readWrite, lock: nil)
            let model = try await ImageModel(opening: file, kind: kind, expected: active)
            try await model.verify()
            try await judge.map(model.image, "\(one) before")
            for _ in 0..<(isHeavyRun ? 200 : 15) { try await model.step() }
            try await model.verify()
            try await model.close()
            try directory.write(model.expected, to: "expected.raw")
        }
        try await judge.check("\(one) after")
        try await judge.compare("\(one) after")
        guard one.hasSnapshots else { return }
        #expect(try await content(directory, snapshot: "snapshot1") == before)
        // And what we read of the snapshot is the same.
        let file = try LocalStorage.open(path, access: .readOnly, lock: nil)
        let snapshot = try await Qcow2File(file).open(snapshot: "snapshot1")
        #expect(try await snapshot.bytes(at: 0, count: Int(snapshot.length)) == before)
    }

    /// Headers of qemu-img's images are decoded and encoded to the same bytes, but for our own way to place things.
    @Test(arguments: cases) func headers(one: Case) async throws {
        let directory = try TemporaryDirectory()
        try await Program.qemuIMG.runSuccessfully(
            ["create", "-f", "qcow2", "-o", one.options, "image.qcow2", "\(one.size)"], directory: directory.path)
        let bytes = try directory.read("image.qcow2")
        #expect(try FormatHeaders.rewritten(bytes) == Array(bytes.prefix(1 << one.clusterBits)))
    }
}
