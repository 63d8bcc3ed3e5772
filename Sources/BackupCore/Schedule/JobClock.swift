// SPDX-License-Identifier: GPL-2.0-or-later

/// The time that a job goes by. Tests have one of their own, so that they need not wait.
protocol JobClock: Sendable {
    /// Time since any fixed moment.
    var now: Duration { get }

    /// Returns at `deadline`, or when the task is cancelled.
    func sleep(until deadline: Duration) async
}

/// The system's clock.
struct SystemJobClock: JobClock {
    private let start = ContinuousClock.now

    var now: Duration {
        start.duration(to: .now)
    }

    func sleep(until deadline: Duration) async {
        // Ends early only by cancellation, and then no one waits for it any more.
        try? await Task.sleep(until: start.advanced(by: deadline), clock: .continuous)
    }
}
