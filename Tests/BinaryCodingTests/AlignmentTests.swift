// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import TestSupport
import Testing

/// Rounding agrees with division and multiplication in wider numbers, for every power of two and up to the last number.
struct AlignmentTests {
    @Test func everyByteAndPowerOfTwo() {
        for value in UInt8.min...UInt8.max {
            for bits in 0..<8 {
                let alignment = UInt8(1) << bits
                let (wide, unit) = (Int(value), 1 << bits)
                #expect(value.isAligned(to: alignment) == (wide % unit == 0))
                #expect(Int(value.alignedDown(to: alignment)) == wide / unit * unit)
                let up = (wide + unit - 1) / unit * unit
                #expect(value.alignedUp(to: alignment).map(Int.init) == (up <= 255 ? up : nil))
            }
            for divisor in UInt8(1)...UInt8.max {
                let expected = (Int(value) + Int(divisor) - 1) / Int(divisor)
                #expect(Int(value.dividedRoundingUp(by: divisor)) == expected)
            }
        }
    }

    @Test(arguments: [UInt64(1), 2])
    func wideNumbers(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<5000 {
            let value = random.next() | (Bool.random(using: &random) ? 0xFFFF << 48 : 0)
            let alignment = UInt64(1) << UInt64.random(in: 0...63, using: &random)
            let (wide, unit) = (UInt128(value), UInt128(alignment))
            #expect(value.isAligned(to: alignment) == (wide % unit == 0))
            #expect(UInt128(value.alignedDown(to: alignment)) == wide / unit * unit)
            #expect(value.alignedUp(to: alignment) == UInt64(exactly: (wide + unit - 1) / unit * unit))
            let divisor = max(random.next() >> UInt64.random(in: 0...63, using: &random), 1)
            #expect(
                UInt128(value.dividedRoundingUp(by: divisor)) == (wide + UInt128(divisor) - 1) / UInt128(divisor))
        }
    }
}
