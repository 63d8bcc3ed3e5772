// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

@testable import BackupCore

/// Time that passes only when the test says so.
final class ManualClock: JobClock {
    private struct State {
        var now = Duration.zero
        var nextID = 0
        var timers: [Int: (deadline: Duration, wake: @Sendable () -> Void)] = [:]
    }

    private let state = Locked(State())

    var now: Duration { state.withLock { $0.now } }

    /// When the sleepers want to be woken.
    var deadlines: [Duration] { state.withLock { $0.timers.values.map(\.deadline).sorted() } }

    func schedule(at deadline: Duration, _ wake: @escaping @Sendable () -> Void) -> @Sendable () -> Void {
        let id: Int? = state.withLock { state in
            if state.now >= deadline { return nil }
            state.nextID += 1
            state.timers[state.nextID] = (deadline, wake)
            return state.nextID
        }
        guard let id else {
            wake()
            return {}
        }
        return { [self] in state.withLock { state in _ = state.timers.removeValue(forKey: id) } }
    }

    func sleep(_ duration: Duration) async {
        await withCheckedContinuation { continuation in
            _ = schedule(at: now + duration) { continuation.resume() }
        }
    }

    func advance(to time: Duration) {
        let woken: [@Sendable () -> Void] = state.withLock { state in
            state.now = max(state.now, time)
            // In a fixed order, so that a run can be repeated.
            let over = state.timers.filter { $0.value.deadline <= state.now }.sorted { $0.key < $1.key }
            for (id, _) in over { state.timers[id] = nil }
            return over.map(\.value.wake)
        }
        for wake in woken { wake() }
    }

    /// Lets time pass until the first timer is due. False where there is none.
    func advanceToNext() -> Bool {
        guard let deadline = deadlines.first else { return false }
        advance(to: deadline)
        return true
    }
}

/// Lets others run until `condition` holds.
func until(_ condition: () -> Bool) async {
    // A pause between two looks, so that many tests that wait at once leave the processors to those who work.
    while !condition() { try? await Task.sleep(for: .microseconds(200)) }
}
