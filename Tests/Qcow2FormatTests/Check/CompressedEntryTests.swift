// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import FormatTestSupport
import TestSupport
import Testing

@testable import Qcow2Format

/// What a reader gets from compressed clusters, a repair neither drops nor gives away.
@Suite struct CompressedEntryTests {
    private static let clusters = 4

    /// An image of compressed clusters alone.
    private struct Sample {
        var bytes: [UInt8] = []
        let content: [UInt8]
        let clusterBits: Int
        let words: Int

        init(clusterBits: Int, hasExtendedL2: Bool = false) async throws {
            self.clusterBits = clusterBits
            words = hasExtendedL2 ? 2 : 1
            let device = MemoryDevice(length: 0)
            var options = Qcow2Options(size: 1 << 20)
            options.clusterBits = clusterBits
            options.hasExtendedL2 = hasExtendedL2
            let image = try await Qcow2Image.create(options, in: device)
            content = (0..<CompressedEntryTests.clusters << clusterBits).map { index in
                UInt8(truncatingIfNeeded: index / 61 ^ index >> clusterBits)
            }
            try await image.writeCompressed(at: 0, from: content.span.bytes)
            try await image.close()
            bytes = device.snapshot.allBytes
        }

        func word(_ offset: Int) -> UInt64 { (try? bytes.span.bytes.bigEndian(at: offset)) ?? 0 }

        /// Where the entry of a cluster is.
        func entry(_ cluster: Int) -> Int {
            let table = word(Int(word(40))) & L2Entry.offsetMask
            return Int(table) + cluster * words * 8
        }

        func descriptor(_ cluster: Int) -> CompressedClusterDescriptor {
            CompressedClusterDescriptor(L2Entry(rawValue: word(entry(cluster))), clusterBits: clusterBits)
        }

        var device: MemoryDevice { RepairTests.device(SparseBytes(bytes)) }
    }

    private func read(_ device: MemoryDevice, _ count: Int) async throws -> [UInt8] {
        try await Qcow2File(device).open().bytes(at: 0, count: count)
    }

    /// A bitmap beside a compressed cluster means nothing. The cluster is used all the same.
    @Test(arguments: [RepairScope.leaks, .all]) func bitmapThatMeansNothing(scope: RepairScope) async throws {
        var sample = try await Sample(clusterBits: 14, hasExtendedL2: true)
        for cluster in 0..<Self.clusters { sample.bytes.storeBigEndian(UInt64(5), at: sample.entry(cluster) + 8) }
        let device = sample.device
        #expect(try await read(device, sample.content.count) == sample.content)

        let outcome = try await Qcow2Check(device).repair(scope) { _ in }

        #expect(outcome.leaksFixed == 0, "\(outcome.before.problems)")
        // What comes next must not get their place.
        let image = try await Qcow2File(device).open(forWriting: true)
        try await image.write(at: 1 << 19, bytes: [UInt8](repeating: 0xEE, count: 1 << 18))
        try await image.close()
        #expect(try await read(device, sample.content.count) == sample.content)
    }

    /// Writers may record more sectors than they stored: then the last of them lie behind the end of the file.
    @Test func moreSectorsThanAreStored() async throws {
        var sample = try await Sample(clusterBits: 12)
        let last = Self.clusters - 1
        let descriptor = sample.descriptor(last)
        // Behind everything else, where the file ends with it.
        let cluster = 1 << sample.clusterBits
        sample.bytes += [UInt8](repeating: 0, count: (cluster - sample.bytes.count % cluster) % cluster)
        let end = sample.bytes.count
        sample.bytes += sample.bytes[Int(descriptor.offset.bytes)...].prefix(Int(descriptor.length))
        sample.bytes.storeBigEndian(1 << 62 | 0xf << 58 | UInt64(end), at: sample.entry(last))
        let device = sample.device
        #expect(try await read(device, sample.content.count) == sample.content)

        let outcome = try await Qcow2Check(device).repair(.all) { _ in }

        #expect(outcome.before.counts[.clusterPastEnd] == 1, "\(outcome.before.problems)")
        #expect(outcome.after.isClean, "\(outcome.after.problems)")
        #expect(try await read(device, sample.content.count) == sample.content)
    }
}
