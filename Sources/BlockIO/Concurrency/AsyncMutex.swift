// SPDX-License-Identifier: GPL-2.0-or-later

/// A lock that may be held while its holder waits for I/O. Waiters are served in order of arrival.
///
/// Waiting is not ended by cancellation: sections are short compared to the I/O that cancels. The lock is not
/// recursive: a section that enters it again waits for itself.
package final class AsyncMutex: Sendable {
    private struct State {
        var isHeld = false
        var waiters = FIFOQueue<CheckedContinuation<Void, Never>>()
    }

    private let state = Locked(State())

    package init() {}

    /// Runs `body` while no one else is inside.
    package func withLock<Result, Failure: Error>(
        _ body: () async throws(Failure) -> Result
    ) async throws(Failure) -> Result {
        await acquire()
        defer { release() }
        return try await body()
    }

    private func acquire() async {
        let isFree = state.withLock { state in
            defer { state.isHeld = true }
            return !state.isHeld
        }
        if isFree { return }
        await withCheckedContinuation { continuation in
            // It may have become free in between.
            let isFreeNow = state.withLock { state in
                if state.isHeld {
                    state.waiters.append(continuation)
                    return false
                }
                state.isHeld = true
                return true
            }
            if isFreeNow { continuation.resume() }
        }
    }

    private func release() {
        // The lock goes from hand to hand and stays held meanwhile, so that no newcomer gets in before a waiter.
        let next = state.withLock { state in
            let next = state.waiters.popFirst()
            if next == nil { state.isHeld = false }
            return next
        }
        next?.resume()
    }
}
