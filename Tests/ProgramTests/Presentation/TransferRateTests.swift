// SPDX-License-Identifier: GPL-2.0-or-later

import Testing

@testable import qcowbackup

/// The rate follows the last seconds, and no sequence of offsets makes it trap.
@Suite struct TransferRateTests {
    @Test func beginsWithTheAverage() {
        var rate = TransferRate()
        #expect(rate.bytesPerSecond == 0)
        rate.add(offset: 100, at: .seconds(2))
        #expect(rate.bytesPerSecond == 50)
    }

    @Test func forgetsWhatIsOlderThanTheWindow() {
        var rate = TransferRate()
        for second in 1...10 {
            rate.add(offset: UInt64(second) * 1000, at: .seconds(second))
        }
        #expect(rate.bytesPerSecond == 1000)
        for second in 11...20 {
            rate.add(offset: 10_000, at: .seconds(second))
        }
        #expect(rate.bytesPerSecond == 0)
        rate.add(offset: 10_600, at: .seconds(21))
        #expect(rate.bytesPerSecond == 120)
    }

    @Test func averagesOverALongPause() {
        var rate = TransferRate()
        rate.add(offset: 1000, at: .seconds(1))
        rate.add(offset: 2000, at: .seconds(101))
        #expect(rate.bytesPerSecond == 10)
    }

    @Test(
        arguments: [
            (1000, 0, 0), (1000, -1, 0), (1000, .nan, 0), (1000, .infinity, 0), (1000, 2, 500), (0, 1, 0),
            (.max, 0.001, .max), (.max, 1, .max), (1, .leastNonzeroMagnitude, .max),
        ] as [(UInt64, Double, UInt64)])
    func rate(bytes: UInt64, seconds: Double, expected: UInt64) {
        #expect(TransferRate.rate(bytes: bytes, seconds: seconds) == expected)
    }

    @Test func anOffsetThatGoesBackIsNoRate() {
        var rate = TransferRate()
        rate.add(offset: .max, at: .seconds(1))
        rate.add(offset: 5, at: .seconds(1))
        rate.add(offset: 5, at: .seconds(20))
        #expect(rate.bytesPerSecond == 0)
    }
}
