// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// The time that a job goes by. Tests have one of their own, so that they need not wait.
protocol JobClock: Sendable {
    /// Time since any fixed moment.
    var now: Duration { get }

    /// Calls `wake` once at `deadline`, or before: whoever it wakes looks at the time.
    ///
    /// - Returns: what cancels the timer.
    func schedule(at deadline: Duration, _ wake: @escaping @Sendable () -> Void) -> @Sendable () -> Void
}

/// The system's clock.
struct SystemJobClock: JobClock {
    private static let timers = TimerThread()
    private let start = ContinuousClock.now

    var now: Duration {
        start.duration(to: .now)
    }

    func schedule(at deadline: Duration, _ wake: @escaping @Sendable () -> Void) -> @Sendable () -> Void {
        Self.timers.schedule(at: start.advanced(by: deadline), wake)
    }
}
