// SPDX-License-Identifier: GPL-2.0-or-later

/// A lock that may be held while its holder waits for I/O. Waiters are served in order of arrival.
///
/// Waiting is not ended by cancellation: sections are short compared to the I/O that cancels.
public final class AsyncMutex: Sendable {
    private struct State {
        var isHeld = false
        var waiters: [CheckedContinuation<Void, Never>] = []
        /// Index in `waiters` of the next one to serve; the ones before it are spent.
        var nextWaiter = 0
    }

    private let state = Locked(State())

    public init() {}

    /// Runs `body` while no one else is inside.
    public func withLock<Result, Failure: Error>(
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
        let next: CheckedContinuation<Void, Never>? = state.withLock { state in
            guard state.nextWaiter < state.waiters.count else {
                state.waiters.removeAll(keepingCapacity: true)
                state.nextWaiter = 0
                state.isHeld = false
                return nil
            }
            defer { state.nextWaiter += 1 }
            return state.waiters[state.nextWaiter]
        }
        next?.resume()
    }
}
