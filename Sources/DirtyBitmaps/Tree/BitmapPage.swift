// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// The bits of up to 32768 granules, some set and some clear.
final class BitmapPage: @unchecked Sendable {
    // Unchecked: changed only by its one owner.
    /// Log2 of the granules in a page: 4 KiB of bits.
    static let spanBits: UInt64 = 15

    /// Number of granules.
    let capacity: UInt64
    /// Number of granules that are set.
    private(set) var count: UInt64
    private var words: [UInt64]

    /// A page whose bits are all `value`.
    init(capacity: UInt64, filledWith value: Bool) {
        precondition(capacity > 0 && capacity <= 1 << Self.spanBits)
        self.capacity = capacity
        count = value ? capacity : 0
        words = [UInt64](repeating: value ? .max : 0, count: Int(capacity.dividedRoundingUp(by: 64)))
        if value, capacity % 64 != 0 {
            // Bits past the end stay clear, so that nothing ever finds them.
            words[words.count - 1] = .max >> (64 - capacity % 64)
        }
    }

    func copy() -> BitmapPage {
        BitmapPage(copying: self)
    }

    private init(copying other: BitmapPage) {
        capacity = other.capacity
        count = other.count
        words = other.words
    }

    /// Bytes that an object and an array take beside what they hold: two headers, two counts, a reference.
    private static let overhead = 96

    var memoryUse: Int {
        words.capacity * MemoryLayout<UInt64>.stride + Self.overhead
    }

    func contains(_ index: UInt64) -> Bool {
        words[Int(index >> 6)] >> (index & 63) & 1 != 0
    }

    /// Gives every granule of `range`, which is not empty, one value.
    func assign(_ range: Range<UInt64>, to value: Bool) {
        let first = Int(range.lowerBound >> 6)
        let last = Int((range.upperBound - 1) >> 6)
        var changed = 0
        words.withUnsafeMutableBufferPointer { words in
            for index in first...last {
                var mask = UInt64.max
                if index == first { mask &= .max << (range.lowerBound & 63) }
                if index == last { mask &= .max >> (63 - (range.upperBound - 1) & 63) }
                let old = words[index]
                let new = value ? old | mask : old & ~mask
                changed += (old ^ new).nonzeroBitCount
                words[index] = new
            }
        }
        if value { count += UInt64(changed) } else { count -= UInt64(changed) }
    }

    /// Adds the granules of a page of the same capacity.
    func formUnion(_ other: BitmapPage) {
        var count = 0
        words.withUnsafeMutableBufferPointer { words in
            other.words.withUnsafeBufferPointer { others in
                for index in words.indices {
                    words[index] |= others[index]
                    count += words[index].nonzeroBitCount
                }
            }
        }
        self.count = UInt64(count)
    }

    /// The first granule from `start` on whose bit is `value`.
    func next(_ value: Bool, from start: UInt64) -> UInt64? {
        guard start < capacity else { return nil }
        let flip: UInt64 = value ? 0 : .max
        return words.withUnsafeBufferPointer { words in
            var index = Int(start >> 6)
            var word = (words[index] ^ flip) & (.max << (start & 63))
            while word == 0 {
                index += 1
                if index == words.count { return nil }
                word = words[index] ^ flip
            }
            let found = UInt64(index) << 6 + UInt64(word.trailingZeroBitCount)
            return found < capacity ? found : nil
        }
    }

    // MARK: Bits as they are stored

    /// Replaces the bits of a range that starts at a multiple of 64.
    ///
    /// - Parameter bits: 8 granules to a byte, the lowest bit first; at least the range's.
    func replaceBits(_ range: Range<UInt64>, with bits: RawSpan) {
        let first = Int(range.lowerBound >> 6)
        let last = Int((range.upperBound - 1) >> 6)
        precondition(bits.byteCount >= (range.count + 7) / 8 && last < words.count)
        var added = 0
        words.withUnsafeMutableBufferPointer { words in
            // Words from here on are cut off by the range or by the buffer.
            let wholeEnd = first + min(range.count / 64, bits.byteCount / 8)
            for index in first..<wholeEnd {
                // In bounds: the buffer has all the bytes of this word.
                let new = UInt64(
                    littleEndian: bits.unsafeLoadUnaligned(
                        fromUncheckedByteOffset: (index - first) * 8, as: UInt64.self))
                added += new.nonzeroBitCount - words[index].nonzeroBitCount
                words[index] = new
            }
            guard wholeEnd <= last else { return }
            var new: UInt64 = 0
            for byte in (wholeEnd - first) * 8..<(range.count + 7) / 8 {
                new |= UInt64(bits.unsafeLoad(fromByteOffset: byte, as: UInt8.self)) << UInt64(byte % 8 * 8)
            }
            let mask = UInt64.max >> (63 - (range.upperBound - 1) & 63)
            new = new & mask | words[last] & ~mask
            added += new.nonzeroBitCount - words[last].nonzeroBitCount
            words[last] = new
        }
        // The sum is the number of bits that are set, and so not negative.
        count = UInt64(Int(count) + added)
    }

    /// Copies the bits of a range that starts at a multiple of 64 to a byte offset of a buffer that is zero there.
    func copyBits(_ range: Range<UInt64>, into bits: inout MutableRawSpan, at offset: Int) {
        let first = Int(range.lowerBound >> 6)
        let byteCount = (range.count + 7) / 8
        for index in 0..<(range.count + 63) / 64 {
            var word = words[first + index]
            if (index + 1) * 64 > range.count { word &= .max >> UInt64((index + 1) * 64 - range.count) }
            if index * 8 + 8 <= byteCount {
                bits.storeBytes(of: word.littleEndian, toByteOffset: offset + index * 8, as: UInt64.self)
            } else {
                for byte in index * 8..<byteCount {
                    bits.storeBytes(
                        of: UInt8(truncatingIfNeeded: word >> UInt64(byte % 8 * 8)), toByteOffset: offset + byte,
                        as: UInt8.self)
                }
            }
        }
    }
}
