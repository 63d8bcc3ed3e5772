// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// Spreads work over time, in slices of 100 ms.
///
/// What is done is charged. Once a slice's quota is used up, nothing more is let in until the time that the charge is
/// worth is over; then a new slice starts. Pure: time is passed in.
struct RateLimit {
    static let slice = Duration.milliseconds(100)

    /// Bytes each second; 0 for no limit.
    private(set) var speed: UInt64
    private var sliceStart = Duration.zero
    private var charged: UInt64 = 0

    init(speed: UInt64) {
        self.speed = speed
    }

    /// Bytes that a slice lets in.
    var quota: UInt64 {
        max(1, speed / 10)
    }

    /// Changes the speed. What was charged at the old one stays charged.
    mutating func set(speed: UInt64) {
        self.speed = speed
    }

    /// Adds work that is done, or about to be. What is done without a limit does not count against a later one.
    mutating func charge(_ bytes: UInt64) {
        guard speed > 0 else { return }
        charged = charged.adding(bytes) ?? .max
    }

    /// Takes back a charge for work that was not done after all.
    mutating func refund(_ bytes: UInt64) {
        charged = charged.subtracting(bytes) ?? 0
    }

    /// When the next piece of work may start; `nil` for at once.
    mutating func nextStart(now: Duration) -> Duration? {
        guard speed > 0 else {
            charged = 0
            sliceStart = now
            return nil
        }
        if charged < quota {
            // An idle slice gives no credit for later.
            if now - sliceStart >= Self.slice {
                sliceStart = now
                charged = 0
            }
            return nil
        }
        // Exact enough in floating point, and far from any overflow: at most 2^64 slices.
        let seconds = Double(charged) / Double(quota) * 0.1
        let end = sliceStart + .seconds(min(seconds, 1e9))
        if now < end { return end }
        sliceStart = now
        charged = 0
        return nil
    }
}
