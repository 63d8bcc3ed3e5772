// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import FormatTestSupport
import Qcow2Format
import TestSupport
import Testing

/// An entry's copied flag promises a refcount of one. Where the refcount says something else, a write in place would damage
/// what else uses the cluster, or be damaged by what gets it next: the image is not opened for that.
@Suite struct CopiedFlagTests {
    /// An image of 16-bit refcounts with a cluster of data, closed.
    private func image() async throws -> [UInt8] {
        var kind = ImageCase(clusterBits: 12)
        kind.sizeOverride = 1 << 20
        let model = try await ImageModel(kind)
        try await model.write(0..<4096)
        try await model.close()
        return (model.file as! MemoryDevice).snapshot.allBytes
    }

    private func word(_ bytes: [UInt8], _ offset: UInt64) throws -> UInt64 {
        try bytes.span.bytes.bigEndian(at: Int(offset)) & 0x00ff_ffff_ffff_fe00
    }

    enum Structure: CaseIterable, Sendable {
        case l2Table, dataCluster
    }

    @Test(arguments: Structure.allCases, [UInt16(0), 2]) func refcountContradicts(
        structure: Structure, count: UInt16
    ) async throws {
        var bytes = try await image()
        let table = try word(bytes, word(bytes, 40))
        let cluster = (structure == .l2Table ? table : try word(bytes, table)) >> 12
        let block = try word(bytes, word(bytes, 48))
        bytes.storeBigEndian(count, at: Int(block + cluster * 2))
        let device = MemoryDevice(bytes: bytes)
        await #expect { try await Qcow2File(device).open(forWriting: true) } throws: { error in
            "\(error)".contains("refcount of cluster \(cluster) is \(count)")
        }
        #expect(device.snapshot.allBytes == bytes)
        // Reading relies on no refcount.
        #expect(try await Qcow2File(device).open().bytes(at: 4096, count: 1) == [0])
    }

    /// A compressed cluster that counts as free.
    @Test func compressed() async throws {
        var kind = ImageCase(clusterBits: 12)
        kind.sizeOverride = 1 << 20
        let file = MemoryDevice(length: 0)
        let made = try await Qcow2Image.create(kind.options, in: file)
        try await made.writeCompressed(at: 0, from: [UInt8](repeating: 5, count: 4096).span.bytes)
        try await made.close()
        var bytes = file.snapshot.allBytes
        _ = try await Qcow2File(MemoryDevice(bytes: bytes)).open(forWriting: true)
        let descriptor: UInt64 = try bytes.span.bytes.bigEndian(at: Int(word(bytes, word(bytes, 40))))
        let cluster = (descriptor & ((1 << 58) - 1)) >> 12
        let block = try word(bytes, word(bytes, 48))
        bytes.storeBigEndian(UInt16(0), at: Int(block + cluster * 2))
        let device = MemoryDevice(bytes: bytes)
        await #expect(throws: BlockError.self) { try await Qcow2File(device).open(forWriting: true) }
    }
}
