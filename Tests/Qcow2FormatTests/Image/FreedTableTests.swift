// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import FormatTestSupport
import SystemPackage
import TestSupport
import Testing

@testable import Qcow2Format

/// A table that was made and is not used after all is forgotten with its cluster: what comes to lie there stays.
@Suite struct FreedTableTests {
    private static let clusterLength: UInt64 = 128 << 10
    /// What one L2 table maps.
    private static let coverage: UInt64 = 2 << 30

    /// An image of two L2 tables, of two pieces each, the first of which a snapshot would share.
    private func sharedImage() async throws -> MemoryDevice {
        var options = Qcow2Options(size: 2 * Self.coverage)
        options.clusterBits = 17
        let file = MemoryDevice(name: "image.qcow2", length: 0)
        let image = try await Qcow2Image.create(options, in: file)
        for start in [0, Self.coverage] {
            try await image.write(at: start, bytes: [UInt8](repeating: 1, count: Int(Self.clusterLength)))
        }
        try await image.close()
        var bytes = file.snapshot.allBytes
        let l1 = Int(try bytes.span.bytes.bigEndian(at: 40, as: UInt64.self))
        let table = try bytes.span.bytes.bigEndian(at: l1, as: UInt64.self) & ~(1 << 63)
        bytes.storeBigEndian(table, at: l1)
        let blocks = Int(try bytes.span.bytes.bigEndian(at: 48, as: UInt64.self))
        let block = Int(try bytes.span.bytes.bigEndian(at: blocks, as: UInt64.self))
        bytes.storeBigEndian(UInt16(2), at: block + Int(table / Self.clusterLength) * 2)
        return MemoryDevice(name: "image.qcow2", bytes: bytes)
    }

    @Test func failedUnsharing() async throws {
        let memory = try await sharedImage()
        let file = FaultInjectingDevice(memory)
        // Four pieces: the second one of a new table takes the room of a changed piece, which is to be written first.
        let image = try await Qcow2File(file).open(forWriting: true, cacheLength: 1)
        file.setFaults([.calls(from: file.counts[.write, default: 0] + 1, of: .write)])
        let cluster = [UInt8](repeating: 2, count: Int(Self.clusterLength))
        await #expect(throws: BlockError.self) { try await image.write(at: 0, bytes: cluster) }
        file.setFaults([])
        let length = memory.length
        try await image.write(at: Self.coverage + Self.clusterLength, bytes: cluster)
        #expect(memory.length == length, "the cluster that was given back is used")
        try await image.close()
        let after = try await Qcow2File(memory).open()
        #expect(try await after.bytes(at: Self.coverage + Self.clusterLength, count: cluster.count) == cluster)
        #expect(try await after.bytes(at: 0, count: 1) == [1])
    }
}
