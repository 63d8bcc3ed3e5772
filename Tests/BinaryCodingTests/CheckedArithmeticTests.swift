// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import TestSupport
import Testing

/// Checked arithmetic gives the true result or `nil`. Small widths are tried exhaustively against wide arithmetic,
/// wide ones at random against twice their width.
struct CheckedArithmeticTests {
    @Test func everyPairOfUnsignedBytes() {
        for one in UInt8.min...UInt8.max {
            for other in UInt8.min...UInt8.max {
                let (a, b) = (Int(one), Int(other))
                #expect(one.adding(other).map(Int.init) == (a + b <= 255 ? a + b : nil))
                #expect(one.subtracting(other).map(Int.init) == (a >= b ? a - b : nil))
                #expect(one.multiplied(by: other).map(Int.init) == (a * b <= 255 ? a * b : nil))
            }
        }
    }

    @Test func everyPairOfSignedBytes() {
        for one in Int8.min...Int8.max {
            for other in Int8.min...Int8.max {
                let (a, b) = (Int(one), Int(other))
                #expect(one.adding(other) == Int8(exactly: a + b))
                #expect(one.subtracting(other) == Int8(exactly: a - b))
                #expect(one.multiplied(by: other) == Int8(exactly: a * b))
            }
        }
    }

    @Test(arguments: [UInt64(1), 2, 3])
    func wideNumbers(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        for _ in 0..<2000 {
            // Shifted, so that products fit about as often as they don't.
            let one = random.next() >> UInt64.random(in: 0...63, using: &random)
            let other = random.next() >> UInt64.random(in: 0...63, using: &random)
            let (a, b) = (UInt128(one), UInt128(other))
            #expect(one.adding(other) == UInt64(exactly: a + b))
            #expect(one.multiplied(by: other) == UInt64(exactly: a * b))
            #expect(one.subtracting(other) == (a >= b ? UInt64(a - b) : nil))
        }
    }
}
