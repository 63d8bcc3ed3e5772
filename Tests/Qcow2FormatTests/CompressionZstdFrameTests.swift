// SPDX-License-Identifier: GPL-2.0-or-later

import Qcow2Format
import Testing

/// Frames that our writer does not make and a reader may meet.
@Suite struct CompressionZstdFrameTests {
    static let clusterLength = 4096
    static let magic: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd]

    /// A frame with one stored block and a window descriptor instead of a content size.
    static func plainFrame(_ data: [UInt8], windowLog: Int) -> [UInt8] {
        let header = UInt32(data.count) << 3 | 1
        return magic + [0, UInt8(windowLog - 10) << 3]
            + [UInt8(header & 0xff), UInt8(header >> 8 & 0xff), UInt8(header >> 16)] + data
    }

    static func decompress(_ stored: [UInt8]) throws -> [UInt8] {
        var decompressor = try ClusterDecompressor(type: .zstd, clusterSize: clusterLength)
        return try decompressor.decompress(stored)
    }

    let cluster = ClusterContent.text.bytes(count: Self.clusterLength, seed: 20)

    @Test func `several frames fill one cluster`() throws {
        let stored = [cluster[..<1000], cluster[1000..<1001], cluster[1001...]].flatMap {
            CompressionReference.zstdFrame(Array($0))
        }
        #expect(try Self.decompress(stored) == cluster)
        #expect(try Self.decompress(stored + [9, 9, 9, 9, 9]) == cluster)
        #expect(throws: CompressionError.truncated(type: .zstd, storedLength: stored.count - 1)) {
            try Self.decompress(stored.dropLast())
        }
    }

    @Test func `skippable and empty frames are passed over`() throws {
        let skippable: [UInt8] = [0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3]
        let stored = skippable + CompressionReference.zstdFrame([]) + CompressionReference.zstdFrame(cluster)
        #expect(try Self.decompress(stored) == cluster)
    }

    @Test func `a skippable frame that claims more than is stored is a cut stream`() {
        let stored: [UInt8] = [0x5a, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0x7f, 1, 2, 3]
        #expect(throws: CompressionError.truncated(type: .zstd, storedLength: stored.count)) {
            try Self.decompress(stored)
        }
    }

    @Test(arguments: [12, 21, 27, 30, 31])
    func `a large window in the header costs nothing`(windowLog: Int) throws {
        #expect(try Self.decompress(Self.plainFrame(cluster, windowLog: windowLog)) == cluster)
    }

    @Test func `a window that no library supports is invalid`() {
        let stored = Self.plainFrame(cluster, windowLog: 41)
        #expect(throws: CompressionError.invalidData(type: .zstd, storedLength: stored.count)) {
            try Self.decompress(stored)
        }
    }

    @Test func `a content size beyond the cluster is refused`() {
        // Single segment, content size in 8 bytes.
        let stored = Self.magic + [0xe0] + [UInt8](repeating: 0x7f, count: 8) + [0x01, 0x80, 0x00] + cluster
        #expect(throws: CompressionError.self) { try Self.decompress(stored) }
    }

    @Test(arguments: [0xfd2f_b522 as UInt32, 0xfd2f_b525, 0xfd2f_b527, 0x1ec4_d4f1])
    func `formats older than zstd 1 are invalid`(magic: UInt32) {
        var stored = CompressionReference.zstdFrame(cluster)
        for index in 0..<4 { stored[index] = UInt8(truncatingIfNeeded: magic >> (8 * index)) }
        #expect(throws: CompressionError.invalidData(type: .zstd, storedLength: stored.count)) {
            try Self.decompress(stored)
        }
    }
}
