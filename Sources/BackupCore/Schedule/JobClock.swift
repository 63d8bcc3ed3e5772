// SPDX-License-Identifier: GPL-2.0-or-later

/// The time that a job goes by. Tests have one of their own, so that they need not wait.
protocol JobClock: Sendable {
    /// Time since any fixed moment.
    var now: Duration { get }

    /// Calls `wake` once at `deadline`, or when the timer is cancelled, or both.
    ///
    /// - Returns: what cancels the timer.
    func schedule(at deadline: Duration, _ wake: @escaping @Sendable () -> Void) -> @Sendable () -> Void
}

/// The system's clock.
struct SystemJobClock: JobClock {
    private let start = ContinuousClock.now

    var now: Duration {
        start.duration(to: .now)
    }

    func schedule(at deadline: Duration, _ wake: @escaping @Sendable () -> Void) -> @Sendable () -> Void {
        let timer = Task {
            // Ends early only when it is cancelled, and then no one waits for it any more.
            try? await Task.sleep(until: start.advanced(by: deadline), clock: .continuous)
            wake()
        }
        return { timer.cancel() }
    }
}
