// SPDX-License-Identifier: GPL-2.0-or-later

/// Memory that any number of requests share, so that together they take no more than so much. Served in order of arrival.
///
/// Whoever holds some must not wait for others who may want some.
package final class MemoryBudget: Sendable {
    private struct Waiter {
        let bytes: Int
        let continuation: CheckedContinuation<Void, Never>
    }

    private struct State {
        var free: Int
        var waiters = FIFOQueue<Waiter>()
    }

    private let total: Int
    private let state: Locked<State>

    package init(bytes: Int) {
        total = bytes
        state = Locked(State(free: bytes))
    }

    /// Number of requests that wait.
    package var waitingCount: Int { state.withLock { $0.waiters.count } }

    /// Waits for memory. Who wants more than there is gets all of it.
    package func acquire(_ bytes: Int) async {
        let bytes = min(bytes, total)
        await withCheckedContinuation { continuation in
            let isFree = state.withLock { state in
                guard state.waiters.isEmpty, state.free >= bytes else {
                    state.waiters.append(Waiter(bytes: bytes, continuation: continuation))
                    return false
                }
                state.free -= bytes
                return true
            }
            if isFree { continuation.resume() }
        }
    }

    /// Gives back what `acquire` waited for.
    package func release(_ bytes: Int) {
        let woken = state.withLock { state in
            state.free += min(bytes, total)
            var woken: [CheckedContinuation<Void, Never>] = []
            while let first = state.waiters.first, first.bytes <= state.free {
                state.free -= first.bytes
                woken.append(first.continuation)
                _ = state.waiters.popFirst()
            }
            return woken
        }
        for waiter in woken { waiter.resume() }
    }
}
