// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import TestSupport
import Testing

/// Fields are big-endian at any alignment, what is stored is loaded again, and no field outside the bytes is read.
struct BigEndianTests {
    static let bytes: [UInt8] = [0x12, 0x34, 0x56, 0x78, 0x9A, 0xBC, 0xDE, 0xF0, 0xFF]

    @Test func goldenBytes() throws {
        let span = Self.bytes.span.bytes
        #expect(try span.bigEndian(at: 0, as: UInt8.self) == 0x12)
        #expect(try span.bigEndian(at: 0, as: UInt16.self) == 0x1234)
        #expect(try span.bigEndian(at: 1, as: UInt32.self) == 0x3456_789A)
        #expect(try span.bigEndian(at: 0, as: UInt64.self) == 0x1234_5678_9ABC_DEF0)
        #expect(try span.bigEndian(at: 1, as: UInt64.self) == 0x3456_789A_BCDE_F0FF)
        #expect(try span.bigEndian(at: 8, as: Int8.self) == -1)
    }

    @Test func storingGivesTheGoldenBytes() {
        var appended: [UInt8] = []
        appended.appendBigEndian(UInt64(0x1234_5678_9ABC_DEF0))
        appended.appendBigEndian(UInt8(0xFF))
        #expect(appended == Self.bytes)
        var stored = [UInt8](repeating: 0, count: 9)
        stored.storeBigEndian(UInt64(0x1234_5678_9ABC_DEF0), at: 0)
        stored.storeBigEndian(Int8(-1), at: 8)
        #expect(stored == Self.bytes)
    }

    @Test(arguments: [UInt64(1), 2, 3])
    func everyWidthComesBackAtEveryOffset(seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        for offset in 0..<24 {
            try check(UInt8.self, at: offset, random: &random)
            try check(UInt16.self, at: offset, random: &random)
            try check(UInt32.self, at: offset, random: &random)
            try check(UInt64.self, at: offset, random: &random)
            try check(Int16.self, at: offset, random: &random)
            try check(Int32.self, at: offset, random: &random)
            try check(Int64.self, at: offset, random: &random)
        }
    }

    private func check<Field: FixedWidthInteger & BitwiseCopyable>(
        _ type: Field.Type, at offset: Int, random: inout SeededRandom
    ) throws {
        let value = Field.random(in: .min ... .max, using: &random)
        let width = MemoryLayout<Field>.size
        let before = random.bytes(count: 32)
        var bytes = before
        bytes.storeBigEndian(value, at: offset)
        #expect(try bytes.span.bytes.bigEndian(at: offset, as: Field.self) == value)
        // The neighbours are untouched.
        #expect(bytes[..<offset] == before[..<offset])
        #expect(bytes[(offset + width)...] == before[(offset + width)...])
        var appended = Array(before[..<offset])
        appended.appendBigEndian(value)
        #expect(appended == Array(bytes[..<(offset + width)]))
    }

    struct BadField: Sendable {
        let offset: Int
        let available: Int
    }

    @Test(arguments: [
        BadField(offset: 0, available: 0), BadField(offset: 0, available: 7), BadField(offset: 1, available: 8),
        BadField(offset: 8, available: 8), BadField(offset: -1, available: 64), BadField(offset: .min, available: 64),
        BadField(offset: .max, available: 64), BadField(offset: .max - 7, available: 64),
    ])
    func fieldsOutsideTheBytesAreRefused(field: BadField) {
        let bytes = [UInt8](repeating: 0, count: field.available)
        let expected = OutOfBoundsField(offset: field.offset, length: 8, available: field.available)
        #expect(throws: expected) { try bytes.span.bytes.bigEndian(at: field.offset, as: UInt64.self) }
        let expectedCopy = OutOfBoundsField(offset: field.offset, length: 8, available: field.available)
        #expect(throws: expectedCopy) { try bytes.span.bytes.bytes(at: field.offset, count: 8) }
    }

    @Test func copiesOfBytesKeepToTheirBounds() throws {
        let span = Self.bytes.span.bytes
        #expect(try span.bytes(at: 0, count: 9) == Self.bytes)
        #expect(try span.bytes(at: 7, count: 2) == [0xF0, 0xFF])
        #expect(try span.bytes(at: 9, count: 0) == [])
        #expect(throws: OutOfBoundsField.self) { try Self.bytes.span.bytes.bytes(at: 10, count: 0) }
        #expect(throws: OutOfBoundsField.self) { try Self.bytes.span.bytes.bytes(at: 4, count: -1) }
        #expect(throws: OutOfBoundsField.self) { try Self.bytes.span.bytes.bytes(at: 0, count: .max) }
        #expect(throws: OutOfBoundsField.self) { try Self.bytes.span.bytes.bytes(at: .max, count: .max) }
    }
}
