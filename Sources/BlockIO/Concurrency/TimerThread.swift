// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import SystemPackage

/// A thread that calls others when their time has come. It is started for the first of them, and lives as long as the
/// process.
///
/// What is called must be short: it holds up the others.
package final class TimerThread: @unchecked Sendable {
    private struct Timer {
        let id: UInt64
        let deadline: ContinuousClock.Instant
        let wake: @Sendable () -> Void
    }

    // `timers`, `lastID` and `isRunning` are guarded by `mutex`; the rest is set at init.
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let timerAdded: UnsafeMutablePointer<pthread_cond_t>
    /// As many as workers that wait: a list is enough.
    private var timers: [Timer] = []
    private var lastID: UInt64 = 0
    private var isRunning = false

    /// How long the caller waits itself where the system refuses a thread.
    private static let wait = Duration.milliseconds(100)

    package init() {
        mutex = .allocate(capacity: 1)
        mutex.initialize(to: pthread_mutex_t())
        timerAdded = .allocate(capacity: 1)
        timerAdded.initialize(to: pthread_cond_t())
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        // Waits by the clock that counts on whatever the time of day is set to.
        let clockResult = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        let mutexResult = pthread_mutex_init(mutex, nil)
        let conditionResult = pthread_cond_init(timerAdded, &attributes)
        pthread_condattr_destroy(&attributes)
        precondition(clockResult == 0 && mutexResult == 0 && conditionResult == 0)
    }

    /// Calls `wake` once, at `deadline` or before.
    ///
    /// - Returns: what cancels the timer.
    package func schedule(
        at deadline: ContinuousClock.Instant, _ wake: @escaping @Sendable () -> Void
    ) -> @Sendable () -> Void {
        pthread_mutex_lock(mutex)
        if !isRunning {
            do throws(Errno) {
                try SystemThread.start("timer") { self.run() }
                isRunning = true
            } catch {
                pthread_mutex_unlock(mutex)
                Self.sleep(min(Self.wait, ContinuousClock.now.duration(to: deadline)))
                wake()
                return {}
            }
        }
        lastID += 1
        let id = lastID
        timers.append(Timer(id: id, deadline: deadline, wake: wake))
        pthread_mutex_unlock(mutex)
        pthread_cond_signal(timerAdded)
        return { [self] in
            pthread_mutex_lock(mutex)
            timers.removeAll { $0.id == id }
            pthread_mutex_unlock(mutex)
        }
    }

    private func run() {
        pthread_mutex_lock(mutex)
        while true {
            let now = ContinuousClock.now
            let due = timers.filter { $0.deadline <= now }.sorted { $0.deadline < $1.deadline }
            guard due.isEmpty else {
                timers.removeAll { $0.deadline <= now }
                pthread_mutex_unlock(mutex)
                for timer in due { timer.wake() }
                pthread_mutex_lock(mutex)
                continue
            }
            guard let next = timers.map(\.deadline).min() else {
                pthread_cond_wait(timerAdded, mutex)
                continue
            }
            var time = Self.time(after: now.duration(to: next))
            pthread_cond_timedwait(timerAdded, mutex, &time)
        }
    }

    /// The system's time in a while, by its monotonic clock.
    private static func time(after wait: Duration) -> timespec {
        // A day at most, so that nothing overflows: then it looks again.
        let (seconds, attoseconds) = min(wait, .seconds(86_400)).components
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        let nanoseconds = time.tv_nsec + Int(attoseconds / 1_000_000_000)
        return timespec(
            tv_sec: time.tv_sec + Int(seconds) + nanoseconds / 1_000_000_000, tv_nsec: nanoseconds % 1_000_000_000)
    }

    private static func sleep(_ wait: Duration) {
        let (seconds, attoseconds) = max(wait, .zero).components
        var time = timespec(tv_sec: Int(seconds), tv_nsec: Int(attoseconds / 1_000_000_000))
        nanosleep(&time, nil)
    }

    deinit {
        // The thread holds its timers, so none was ever started.
        pthread_cond_destroy(timerAdded)
        timerAdded.deallocate()
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }
}
