// SPDX-License-Identifier: GPL-2.0-or-later

import DirtyBitmaps
import TestSupport
import Testing

/// Bits go to bytes and come back: bit 0 of the first byte is the first granule's, and nothing lies past the disk's end.
@Suite struct StoredBitsTests {
    private static let lengths: [UInt64] = [
        512, 513, 512 * 63, 512 * 64, 512 * 65 - 1, 512 * 4096, 512 * 4097, 512 * 32768, 512 * 32769 + 5,
        512 * 32768 * 5 + 512 * 77,
    ]

    private static func bytes(of bitmap: DirtyBitmap, from granule: UInt64, count: Int) -> [UInt8] {
        // Not zero, so that bytes that are left alone are seen.
        var bytes = [UInt8](repeating: 0xA5, count: count)
        var span = bytes.mutableSpan
        var raw = span.mutableBytes
        bitmap.copyBits(from: granule, into: &raw)
        return bytes
    }

    /// Sparse, dense, or uniform in long stretches.
    private static func randomBytes(_ count: Int, _ random: inout SeededRandom) -> [UInt8] {
        var bytes: [UInt8] = []
        while bytes.count < count {
            let run = min(Int.random(in: 1...9000, using: &random), count - bytes.count)
            switch Int.random(in: 0..<4, using: &random) {
            case 0: bytes += [UInt8](repeating: 0, count: run)
            case 1: bytes += [UInt8](repeating: 0xff, count: run)
            default: for _ in 0..<run { bytes.append(UInt8.random(in: 0...255, using: &random)) }
            }
        }
        return bytes
    }

    @Test(arguments: lengths, 0..<4) func replacedBitsAreThere(length: UInt64, seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed))
        var bitmap = try DirtyBitmap(length: length, granularity: 512)
        let granules = (length + 511) / 512
        if seed == 1 { bitmap.setAll() }
        let total = Int((granules + 7) / 8)
        var expected = seed == 1 ? [UInt8](repeating: 0xff, count: total) : [UInt8](repeating: 0, count: total)
        for _ in 0..<6 {
            let start = Int.random(in: 0...(total - 1) / 8, using: &random) * 8
            // Also more than there is.
            let piece = Self.randomBytes(Int.random(in: 1...total + 9, using: &random), &random)
            bitmap.replaceBits(from: UInt64(start) * 8, with: piece.span.bytes)
            let count = min(piece.count, total - start)
            expected.replaceSubrange(start..<start + count, with: piece[..<count])
        }
        if granules % 8 != 0 { expected[total - 1] &= 0xff >> UInt8(8 - granules % 8) }

        #expect(Self.bytes(of: bitmap, from: 0, count: total) == expected)
        #expect(Self.bytes(of: bitmap, from: 0, count: total + 5) == expected + [0, 0, 0, 0, 0])
        #expect(bitmap.dirtyGranules == expected.reduce(0) { $0 + UInt64($1.nonzeroBitCount) })
        let start = total / 16 * 8
        #expect(Self.bytes(of: bitmap, from: UInt64(start) * 8, count: total - start) == Array(expected[start...]))
        // Searches see the same bits.
        var position: UInt64 = 0
        while let area = bitmap.nextDirtyArea(from: position) {
            for granule in area.lowerBound / 512..<(area.upperBound + 511) / 512 {
                #expect(expected[Int(granule / 8)] >> UInt8(granule % 8) & 1 == 1)
                expected[Int(granule / 8)] &= ~(1 << UInt8(granule % 8))
            }
            position = area.upperBound
        }
        #expect(expected.allSatisfy { $0 == 0 })
    }

    /// A union of two bitmaps has the bits of both, and leaves the other one and earlier copies as they were.
    @Test(arguments: lengths, 0..<6) func unions(length: UInt64, seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed))
        let total = Int(((length + 511) / 512 + 7) / 8)
        var bitmaps: [DirtyBitmap] = []
        for index in 0..<2 {
            var bitmap = try DirtyBitmap(length: length, granularity: 512)
            if seed == 2 + index { bitmap.setAll() }
            if seed != 4 + index {
                bitmap.replaceBits(from: 0, with: Self.randomBytes(total / (index + 1), &random).span.bytes)
            }
            bitmaps.append(bitmap)
        }
        let (one, other) = (bitmaps[0], bitmaps[1])
        let before = [one, other].map { Self.bytes(of: $0, from: 0, count: total) }
        var union = one
        union.formUnion(other)
        let expected = zip(before[0], before[1]).map { $0 | $1 }
        #expect(Self.bytes(of: union, from: 0, count: total) == expected)
        #expect(union.dirtyGranules == expected.reduce(0) { $0 + UInt64($1.nonzeroBitCount) })
        union.replaceBits(from: 0, with: [UInt8](repeating: 0x5a, count: total).span.bytes)
        #expect([one, other].map { Self.bytes(of: $0, from: 0, count: total) } == before)
    }

    /// Dense bits of a large disk, into coarser, equal and finer granules, take no time to speak of.
    @Test(.timeLimit(.minutes(2)), arguments: [12, 16, 20] as [UInt64]) func denseUnions(granularityBits: UInt64) throws
    {
        var random = SeededRandom(seed: granularityBits)
        var dense = try DirtyBitmap(length: 1 << 38, granularity: 1 << 16)
        let bytes = random.bytes(count: 1 << 19)
        dense.replaceBits(from: 0, with: bytes.span.bytes)
        var union = try DirtyBitmap(length: 1 << 38, granularity: 1 << granularityBits)
        union.formUnion(dense)
        if granularityBits <= 16 { #expect(union.dirtyLength == dense.dirtyLength) }
        for _ in 0..<1000 {
            let offset = UInt64.random(in: 0..<1 << 38, using: &random)
            let start = offset & ~((1 << granularityBits) - 1)
            #expect(
                union.isDirty(at: offset)
                    == dense.hasDirty(in: min(start, offset & ~65535)..<max(start + 1 << granularityBits, offset + 1)))
        }
    }

    @Test func nothingIsReplacedByNothing() throws {
        var bitmap = try DirtyBitmap(length: 1 << 20, granularity: 512)
        bitmap.set(512..<1024)
        bitmap.replaceBits(from: 0, with: [UInt8]().span.bytes)
        bitmap.replaceBits(from: 1 << 20, with: [1, 2, 3].span.bytes)
        #expect(bitmap.nextDirtyArea(from: 0) == 512..<1024)
        #expect(bitmap.dirtyGranules == 1)
    }
}
