// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// Counts the requests that change a disk, holds them back while it is drained, and knows the hooks.
final class GuestGate: Sendable {
    private typealias Waiter = CheckedContinuation<Void, Never>

    private struct State {
        var hooks: [any WriteHook] = []
        var inFlight = 0
        var drains = 0
        /// Requests that wait for the drains to end.
        var held: [Waiter] = []
        /// Drains that wait for the requests in flight.
        var drainers: [Waiter] = []
    }

    private let state = Locked(State())

    func install(_ hook: any WriteHook) {
        state.withLock { $0.hooks.append(hook) }
    }

    func remove(_ hook: any WriteHook) {
        state.withLock { state in state.hooks.removeAll { $0 === hook } }
    }

    /// Lets a request in once the disk is not drained.
    ///
    /// - Returns: whom to ask first.
    func enter() async -> [any WriteHook] {
        while true {
            let hooks: [any WriteHook]? = state.withLock { state in
                guard state.drains == 0 else { return nil }
                state.inFlight += 1
                return state.hooks
            }
            if let hooks { return hooks }
            await withCheckedContinuation { continuation in
                let isOpen = state.withLock { state in
                    if state.drains == 0 { return true }
                    state.held.append(continuation)
                    return false
                }
                if isOpen { continuation.resume() }
            }
        }
    }

    func leave() {
        let drainers: [Waiter] = state.withLock { state in
            state.inFlight -= 1
            guard state.inFlight == 0 else { return [] }
            defer { state.drainers = [] }
            return state.drainers
        }
        for drainer in drainers { drainer.resume() }
    }

    func beginDrain() async {
        state.withLock { $0.drains += 1 }
        await withCheckedContinuation { continuation in
            let isQuiet = state.withLock { state in
                if state.inFlight == 0 { return true }
                state.drainers.append(continuation)
                return false
            }
            if isQuiet { continuation.resume() }
        }
    }

    func endDrain() {
        let held: [Waiter] = state.withLock { state in
            precondition(state.drains > 0, "no drain to end")
            state.drains -= 1
            guard state.drains == 0 else { return [] }
            defer { state.held = [] }
            return state.held
        }
        for request in held { request.resume() }
    }
}
