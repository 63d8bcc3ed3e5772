// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// Counts the requests that change a disk, holds them back while it is drained, and knows whom to ask and to tell.
final class GuestGate: Sendable {
    private typealias Waiter = CheckedContinuation<Void, Never>

    private struct State {
        var hooks: [any WriteHook] = []
        var listeners: [any DrainListener] = []
        var inFlight = 0
        var drains = 0
        /// Requests that wait for the drains to end.
        var held: [Waiter] = []
        /// Drains that wait for the requests in flight.
        var drainers: [Waiter] = []
    }

    private let state = Locked(State())

    /// Number of requests that a drain holds back.
    var heldCount: Int {
        state.withLock { $0.held.count }
    }

    func install(_ hook: any WriteHook) {
        state.withLock { $0.hooks.append(hook) }
    }

    func remove(_ hook: any WriteHook) {
        state.withLock { state in state.hooks.removeAll { $0 === hook } }
    }

    /// Tells `listener` about each drain from now on, and about the one that goes on.
    func add(_ listener: any DrainListener) {
        // Listeners are told under the lock, so that a beginning and an end can't pass each other.
        state.withLock { state in
            state.listeners.append(listener)
            if state.drains > 0 { listener.beginDrain() }
        }
    }

    func remove(_ listener: any DrainListener) {
        state.withLock { state in
            guard let index = state.listeners.firstIndex(where: { $0 === listener }) else { return }
            state.listeners.remove(at: index)
            if state.drains > 0 { listener.endDrain() }
        }
    }

    /// Lets a request in, once the disk is not drained.
    ///
    /// - Parameter isHeld: whether a drain holds it back. What a job does for a guest's request must get through, since
    ///   the drain waits for that request.
    /// - Returns: whom to ask first.
    func enter(isHeld: Bool) async -> [any WriteHook] {
        while true {
            let hooks: [any WriteHook]? = state.withLock { state in
                guard !isHeld || state.drains == 0 else { return nil }
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

    /// Holds new requests back until `endDrain`, and returns once nothing is in flight.
    func beginDrain() async {
        hold()
        await waitUntilQuiet()
    }

    /// The first half of a drain: holds new requests back.
    func hold() {
        state.withLock { state in
            state.drains += 1
            if state.drains == 1 { state.listeners.forEach { $0.beginDrain() } }
        }
    }

    /// The second half: waits for what came before, or until no drain is left to wait for.
    func waitUntilQuiet() async {
        // Listeners first: what they have in hand may lead to requests, and requests may wait for it.
        for listener in state.withLock({ $0.drains > 0 ? $0.listeners : [] }) { await listener.waitUntilStill() }
        await withCheckedContinuation { continuation in
            let isQuiet = state.withLock { state in
                if state.inFlight == 0 || state.drains == 0 { return true }
                state.drainers.append(continuation)
                return false
            }
            if isQuiet { continuation.resume() }
        }
    }

    func endDrain() {
        let woken: [Waiter] = state.withLock { state in
            precondition(state.drains > 0, "no drain to end")
            state.drains -= 1
            guard state.drains == 0 else { return [] }
            state.listeners.forEach { $0.endDrain() }
            defer { (state.held, state.drainers) = ([], []) }
            return state.held + state.drainers
        }
        for waiter in woken { waiter.resume() }
    }
}
