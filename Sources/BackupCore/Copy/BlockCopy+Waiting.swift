// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// Requests that wait for each other.
extension BlockCopy {
    /// Waits for a request to end.
    private func wait(for request: UInt64) async {
        await withCheckedContinuation { continuation in
            let isInFlight = state.withLock { $0.inFlight.wait(for: request, continuation) }
            if !isInFlight { continuation.resume() }
        }
    }

    /// Waits until no request in flight overlaps `range`.
    func waitForOverlapping(_ range: Range<UInt64>) async {
        while let request = state.withLock({ $0.inFlight.overlapping(range) }) { await wait(for: request) }
    }

    /// Waits for one of the requests in flight, where there are any, to end.
    func waitForAnyInFlight() async {
        if let request = state.withLock({ $0.inFlight.first }) { await wait(for: request) }
    }

    /// The next part of `range`, whole clusters, that a guest has to copy itself; `nil` once there is nothing to wait for.
    func takeForGuest(_ range: Range<UInt64>, limit: UInt64) async -> CopyRequest? {
        while true {
            switch state.withLock({ $0.takeForGuest(range, limit: limit) }) {
            case .done: return nil
            case .wait(let request): await wait(for: request)
            case .copy(let request): return request
            }
        }
    }

    /// Ends a request without copying: the top layer does not hold `range`, which covers the request.
    ///
    /// In one step: were the range owed again for a moment, another guest could take it on, and look at what the first
    /// one's write has made of it.
    func skip(_ range: Range<UInt64>, andEnd request: consuming CopyRequest) {
        let waiters = state.withLock { $0.skip(range, andEnd: request) }
        for waiter in waiters { waiter.resume() }
    }

    /// - Returns: false where the job is about to end, and nothing new is to be copied.
    func enterGuest() -> Bool {
        state.withLock { state in
            if !state.isClosedToGuests { state.guests += 1 }
            return !state.isClosedToGuests
        }
    }

    func leaveGuest() {
        let waiters: [InFlightRequests.Waiter] = state.withLock { state in
            state.guests -= 1
            guard state.guests == 0 else { return [] }
            defer { state.guestWaiters = [] }
            return state.guestWaiters
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Copies nothing more for guests, and waits for what is being copied for them.
    func closeToGuests() async {
        await withCheckedContinuation { continuation in
            let isQuiet = state.withLock { state in
                state.isClosedToGuests = true
                if state.guests == 0 { return true }
                state.guestWaiters.append(continuation)
                return false
            }
            if isQuiet { continuation.resume() }
        }
    }
}
