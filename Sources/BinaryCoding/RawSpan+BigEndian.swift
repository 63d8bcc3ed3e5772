// SPDX-License-Identifier: GPL-2.0-or-later

/// Thrown when a field lies, wholly or in part, outside the bytes at hand.
@usableFromInline
package struct OutOfBoundsField: Error, Equatable, Sendable {
    /// Byte offset of the field.
    package let offset: Int
    /// Length of the field in bytes.
    package let length: Int
    /// Length in bytes of what was to hold it.
    package let available: Int

    @usableFromInline
    package init(offset: Int, length: Int, available: Int) {
        self.offset = offset
        self.length = length
        self.available = available
    }
}

extension RawSpan {
    /// Decodes an unsigned big-endian integer at a byte offset of any alignment.
    ///
    /// - Throws: `OutOfBoundsField` where the field does not lie inside the span.
    @inlinable
    package func bigEndian<Field: FixedWidthInteger & BitwiseCopyable>(
        at offset: Int, as type: Field.Type = Field.self
    ) throws(OutOfBoundsField) -> Field {
        let width = MemoryLayout<Field>.size
        guard offset >= 0, width <= byteCount, offset <= byteCount - width else {
            throw OutOfBoundsField(offset: offset, length: width, available: byteCount)
        }
        return Field(bigEndian: unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: Field.self))
    }

    /// Copies bytes out.
    ///
    /// - Throws: `OutOfBoundsField` where they do not all lie inside the span.
    package func bytes(at offset: Int, count: Int) throws(OutOfBoundsField) -> [UInt8] {
        guard offset >= 0, count >= 0, count <= byteCount, offset <= byteCount - count else {
            throw OutOfBoundsField(offset: offset, length: count, available: byteCount)
        }
        return extracting(offset..<offset + count).withUnsafeBytes { [UInt8]($0) }
    }
}

extension MutableRawSpan {
    /// Encodes an integer big-endian at a byte offset of any alignment, which must lie inside the span.
    @inlinable
    @_lifetime(self: copy self)
    package mutating func storeBigEndian<Field: FixedWidthInteger & BitwiseCopyable>(_ value: Field, at offset: Int) {
        storeBytes(of: value.bigEndian, toByteOffset: offset, as: Field.self)
    }
}

extension [UInt8] {
    /// Encodes an integer big-endian at a byte offset, which must lie inside the array.
    @inlinable
    package mutating func storeBigEndian<Field: FixedWidthInteger & BitwiseCopyable>(_ value: Field, at offset: Int) {
        var span = mutableSpan
        var bytes = span.mutableBytes
        bytes.storeBigEndian(value, at: offset)
    }

    /// Appends an integer, big-endian.
    @inlinable
    package mutating func appendBigEndian<Field: FixedWidthInteger>(_ value: Field) {
        var rest = Field.bitWidth
        while rest > 0 {
            rest -= 8
            append(UInt8(truncatingIfNeeded: value >> Field(rest)))
        }
    }
}
