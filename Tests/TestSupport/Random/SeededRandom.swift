// SPDX-License-Identifier: GPL-2.0-or-later

/// Reproducible random numbers: the same seed gives the same sequence on every machine (SplitMix64).
package struct SeededRandom: RandomNumberGenerator, Sendable {
    private var state: UInt64

    package init(seed: UInt64) {
        state = seed
    }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    /// One of the values, of which there are some.
    package mutating func pick<Value>(_ values: [Value]) -> Value {
        values[Int.random(in: 0..<values.count, using: &self)]
    }

    /// Bytes that no compressor can shorten.
    package mutating func bytes(count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count + 7)
        while bytes.count < count {
            withUnsafeBytes(of: next().littleEndian) { bytes.append(contentsOf: $0) }
        }
        bytes.removeLast(bytes.count - count)
        return bytes
    }

    /// Bytes that compress well and are nowhere zero: short runs of one value.
    package mutating func compressibleBytes(count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        while bytes.count < count {
            let run = min(Int.random(in: 8...64, using: &self), count - bytes.count)
            bytes.append(contentsOf: repeatElement(UInt8.random(in: 1...255, using: &self), count: run))
        }
        return bytes
    }

    /// A non-empty range inside `0..<limit`; lengths are spread over all orders of magnitude.
    ///
    /// - Parameter alignment: both ends are multiples of it, but for an end at `limit`.
    package mutating func range(below limit: UInt64, alignment: UInt64 = 1) -> Range<UInt64> {
        precondition(limit > 0 && alignment > 0)
        let units = (limit - 1) / alignment + 1
        let start = UInt64.random(in: 0..<units, using: &self)
        let longest = units - start
        let bits = UInt64(UInt64.bitWidth - longest.leadingZeroBitCount)
        let cap = min(longest, 1 << UInt64.random(in: 0...min(bits, 63), using: &self))
        let count = UInt64.random(in: 1...cap, using: &self)
        return start * alignment..<min((start + count) * alignment, limit)
    }
}
