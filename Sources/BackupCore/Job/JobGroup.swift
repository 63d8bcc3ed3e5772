// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// Jobs that end together: all of them well, once each has done its work, or all of them as failed.
///
/// Every job is in a group; one that is on its own is alone in it. Locks are taken group first, then member.
final class JobGroup: Sendable {
    private struct State {
        var members: [JobLifecycle] = []
        /// Members that have done their work well.
        var arrived = 0
        var isDecided = false
    }

    private let state = Locked(State())

    /// Adds a job, before any member is started. Where one was cancelled already, so is this.
    func add(_ member: JobLifecycle) {
        state.withLock { state in
            if state.isDecided {
                // Nothing waits yet that could be woken.
                _ = member.decide(.abort)
            } else {
                state.members.append(member)
            }
        }
    }

    /// Forgets a job that is never going to be started.
    func remove(_ member: JobLifecycle) {
        state.withLock { state in state.members.removeAll { $0 === member } }
    }

    /// Waits for all members, once one has done its work or failed.
    ///
    /// - Returns: how all of them are to end.
    func conclude(_ member: JobLifecycle) async -> JobStatus.Decision {
        arrive(member)
        while true {
            switch await member.waitForDecision() {
            case .decided(let decision): return decision
            case .mayNotGoOn: abort()
            }
        }
    }

    private func arrive(_ member: JobLifecycle) {
        let isAutomatic = state.withLock { state in
            guard !state.isDecided, member.becomeWaiting() else { return false }
            state.arrived += 1
            guard state.arrived == state.members.count else { return false }
            // All at once. They wait for their user where one of them wants to.
            for member in state.members { member.becomePending() }
            return state.members.allSatisfy(\.autoFinalize)
        }
        if isAutomatic { finalize() }
    }

    /// Lets members that are all pending end: well, unless one was cancelled in the meantime.
    func finalize() {
        decide { $0.allSatisfy(\.mayGoOn) ? .commit : .abort }
    }

    /// Ends all members as failed; those that are still at work are cancelled.
    func abort() {
        decide { _ in .abort }
    }

    private func decide(_ body: ([JobLifecycle]) -> JobStatus.Decision) {
        let woken: [JobStatus.Waiter] = state.withLock { state in
            guard !state.isDecided else { return [] }
            state.isDecided = true
            let decision = body(state.members)
            let woken = state.members.flatMap { $0.decide(decision) }
            // They hold the group; it need not hold them any longer.
            state.members = []
            return woken
        }
        for waiter in woken { waiter.resume() }
    }
}
