// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// Refcounts of one width in a refcount block: big-endian from a byte up, least significant bits first below.
///
/// Spec: “Host cluster management”.
struct RefcountCodec: Sendable, Equatable {
    /// Log2 of the width in bits, 0 to 6.
    let order: Int

    var bits: Int { 1 << order }

    /// The largest refcount.
    var maximum: UInt64 { order == 6 ? .max : 1 << UInt64(bits) - 1 }

    /// Refcounts in `count` bytes.
    func capacity(ofBytes count: Int) -> Int { (count * 8) >> order }

    /// - Parameter index: below `capacity(ofBytes: bytes.count)`.
    func value(in bytes: [UInt8], at index: Int) -> UInt64 {
        if order < 3 {
            let bit = index << order
            return UInt64(bytes[bit >> 3]) >> UInt64(bit & 7) & maximum
        }
        let width = bits / 8
        var value: UInt64 = 0
        for byte in index * width..<(index + 1) * width {
            value = value << 8 | UInt64(bytes[byte])
        }
        return value
    }

    /// - Parameters:
    ///   - value: at most `maximum`.
    ///   - index: below `capacity(ofBytes: bytes.count)`.
    func store(_ value: UInt64, in bytes: inout [UInt8], at index: Int) {
        if order < 3 {
            let bit = index << order
            let mask = UInt8(maximum) << UInt8(bit & 7)
            bytes[bit >> 3] = bytes[bit >> 3] & ~mask | UInt8(value) << UInt8(bit & 7)
            return
        }
        let width = bits / 8
        for byte in 0..<width {
            bytes[index * width + byte] = UInt8(truncatingIfNeeded: value >> UInt64(8 * (width - 1 - byte)))
        }
    }

    /// - Parameter index: below `capacity(ofBytes: bytes.byteCount)`.
    @inline(__always)
    func value(in bytes: RawSpan, at index: Int) -> UInt64 {
        switch order {
        case 3: UInt64(bytes.unsafeLoadUnaligned(fromByteOffset: index, as: UInt8.self))
        case 4: UInt64(UInt16(bigEndian: bytes.unsafeLoadUnaligned(fromByteOffset: index * 2, as: UInt16.self)))
        case 5: UInt64(UInt32(bigEndian: bytes.unsafeLoadUnaligned(fromByteOffset: index * 4, as: UInt32.self)))
        case 6: UInt64(bigEndian: bytes.unsafeLoadUnaligned(fromByteOffset: index * 8, as: UInt64.self))
        default:
            UInt64(bytes.unsafeLoadUnaligned(fromByteOffset: (index << order) >> 3, as: UInt8.self))
                >> UInt64((index << order) & 7) & maximum
        }
    }
}
