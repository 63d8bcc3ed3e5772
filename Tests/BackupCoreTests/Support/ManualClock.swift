// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

@testable import BackupCore

/// Time that passes only when the test says so.
final class ManualClock: JobClock {
    private struct State {
        var now = Duration.zero
        var nextID = 0
        var sleepers: [Int: (deadline: Duration, continuation: CheckedContinuation<Void, Never>)] = [:]
    }

    private let state = Locked(State())

    var now: Duration { state.withLock { $0.now } }

    /// When the sleepers want to be woken.
    var deadlines: [Duration] { state.withLock { $0.sleepers.values.map(\.deadline).sorted() } }

    func sleep(until deadline: Duration) async {
        let id = state.withLock { state in
            state.nextID += 1
            return state.nextID
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    if state.now >= deadline || Task.isCancelled { return true }
                    state.sleepers[id] = (deadline, continuation)
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.sleepers.removeValue(forKey: id)?.continuation }?.resume()
        }
    }

    func advance(to time: Duration) {
        let woken = state.withLock { state in
            state.now = max(state.now, time)
            let over = state.sleepers.filter { $0.value.deadline <= state.now }
            for id in over.keys { state.sleepers[id] = nil }
            return over.values.map(\.continuation)
        }
        for continuation in woken { continuation.resume() }
    }
}

/// Lets others run until `condition` holds.
func until(_ condition: () -> Bool) async {
    // A pause between two looks, so that many tests that wait at once leave the processors to those who work.
    while !condition() { try? await Task.sleep(for: .microseconds(200)) }
}
