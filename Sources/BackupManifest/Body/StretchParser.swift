// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// Takes stretches of things (units, or ranges with a digest each) off a section of a manifest's body, of which any number
/// of bytes is at hand.
///
/// Numbers are unsigned LEB128. For each stretch there are the number of things left out before it, from the end of the
/// last one on, its length, and the digests of the things in it, if they have any; two zeroes end the section.
struct StretchParser: Sendable {
    /// Where the next stretch is counted from.
    private var end: UInt64 = 0
    /// Things of the present stretch whose digests are still to come; they end at `end`.
    private var open: UInt64 = 0
    /// Whether the two zeroes were there.
    private(set) var isOver = false

    /// Number of things that there are.
    let limit: UInt64
    /// Bytes of a thing's digest; 0 for none.
    let digestLength: Int

    /// Bytes of the longest two numbers.
    static let longestNumbers = 20

    init(limit: UInt64, digestLength: Int) {
        self.limit = limit
        self.digestLength = digestLength
    }

    /// No thing of what is still to come is before.
    var position: UInt64 { end - open }

    /// Takes what is complete.
    ///
    /// - Parameters:
    ///   - isLast: whether nothing comes after these bytes.
    ///   - visit: called with each stretch, or each part of one, and with where in the bytes its digests begin.
    /// - Returns: the number of bytes that were taken; `nil` for anything that isn't written so. More than a digest and the
    ///   longest two numbers give at least one byte.
    mutating func take(
        from bytes: RawSpan, isLast: Bool, visit: (Range<UInt64>, Int) -> Void
    ) -> Int? {
        var offset = 0
        while !isOver {
            let rest = bytes.byteCount - offset
            if open > 0 {
                // Less than the bytes, so it fits.
                let count = min(open, UInt64(rest / digestLength))
                if count == 0 { return isLast ? nil : offset }
                visit(position..<position + count, offset)
                open -= count
                offset += Int(count) * digestLength
                continue
            }
            if !isLast, rest < Self.longestNumbers { break }
            var next = offset
            guard let gap = Self.number(in: bytes, at: &next), let length = Self.number(in: bytes, at: &next) else {
                return nil
            }
            guard begin(gap: gap, length: length) else { return nil }
            if digestLength == 0, length > 0 {
                visit(end - length..<end, next)
                open = 0
            }
            offset = next
        }
        return offset
    }

    /// - Returns: false for a stretch that isn't there, touches the last one, or lies past the end.
    private mutating func begin(gap: UInt64, length: UInt64) -> Bool {
        if length == 0 {
            isOver = gap == 0
            return isOver
        }
        guard end == 0 || gap > 0 else { return false }
        guard let first = end.adding(gap), let next = first.adding(length), next <= limit else { return false }
        (end, open) = (next, length)
        return true
    }

    /// `nil` also for a number that is written longer than needed.
    private static func number(in bytes: RawSpan, at offset: inout Int) -> UInt64? {
        var value: UInt64 = 0
        for shift in stride(from: 0, to: 64, by: 7) {
            guard offset < bytes.byteCount else { return nil }
            let byte = bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self)
            offset += 1
            let bits = UInt64(byte & 0x7f)
            guard (bits << UInt64(shift)) >> UInt64(shift) == bits else { return nil }
            value |= bits << UInt64(shift)
            if byte & 0x80 == 0 { return byte == 0 && shift > 0 ? nil : value }
        }
        return nil
    }
}
