// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import FormatTestSupport
import Qcow2Format
import TestSupport
import Testing

/// A refcount table may tell of clusters far behind the file's end. Nothing looks through what lies between.
@Suite struct FarRefcountTests {
    /// An image of two data clusters that are one, with two references, as far behind as the format allows.
    private func image() async throws -> [UInt8] {
        var kind = ImageCase(clusterBits: 12)
        kind.refcountOrder = 1
        kind.sizeOverride = 1 << 20
        let model = try await ImageModel(kind)
        try await model.write(0..<8192)
        try await model.close()
        var bytes = (model.file as! MemoryDevice).snapshot.allBytes
        bytes += [UInt8](repeating: 0, count: -bytes.count & 4095)
        // A refcount table of the largest size, and a block for its last entry.
        let entries = (8 << 20) / 8
        let table = bytes.count
        let block = table + entries * 8
        let first: UInt64 = try bytes.span.bytes.bigEndian(at: Int(word(bytes, 48)))
        bytes += [UInt8](repeating: 0, count: entries * 8 + 4096)
        bytes.storeBigEndian(first, at: table)
        bytes.storeBigEndian(UInt64(block), at: table + (entries - 1) * 8)
        bytes.storeBigEndian(UInt64(table), at: 48)
        bytes.storeBigEndian(UInt32(entries * 8 / 4096), at: 56)
        // Two bits for each of the block's 16384 clusters: the last one has a refcount of 2.
        bytes[block + 4095] = 2 << 6
        let far = UInt64(entries) * 16384 - 1
        let l2 = try word(bytes, word(bytes, 40)) & 0x00ff_ffff_ffff_fe00
        for index in 0..<2 { bytes.storeBigEndian(far << 12, at: Int(l2) + index * 8) }
        return bytes
    }

    private func word(_ bytes: [UInt8], _ offset: UInt64) throws -> UInt64 {
        try bytes.span.bytes.bigEndian(at: Int(offset))
    }

    @Test(.timeLimit(.minutes(10))) func closes() async throws {
        let device = MemoryDevice(bytes: try await image())
        let before = device.length
        let image = try await Qcow2File(device).open(forWriting: true)
        try await image.write(at: 0, bytes: [UInt8](repeating: 7, count: 8192))
        try await image.close()
        #expect(try await image.bytes(at: 8191, count: 2) == [7, 0])
        #expect(device.length <= before + 8192)
    }
}
