// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// What the group asks of a member. All but the wait return at once, since the group's lock is held.
extension JobLifecycle {
    /// The work is done.
    ///
    /// - Returns: false for a job that failed or was cancelled.
    func becomeWaiting() -> Bool {
        status.withLock { status in
            guard status.mayGoOn else { return false }
            // A pause that came with the last piece in hand: nothing is left to stand still, nor a verb to end it.
            status.isUserPaused = false
            status.ioStatus = .ok
            status.move(to: .waiting)
            return true
        }
    }

    func becomePending() {
        status.withLock { $0.move(to: .pending) }
        if !autoFinalize { tell(.pending) }
    }

    /// Tells the job how it is to end. One that is still at work is cancelled.
    ///
    /// - Returns: who is to be woken.
    func decide(_ decision: JobStatus.Decision) -> [JobStatus.Waiter] {
        status.withLock { status in
            status.decision = decision
            return decision == .abort ? status.cancel() : status.wakeAll()
        }
    }

    enum Wait {
        case decided(JobStatus.Decision)
        /// The job failed or was cancelled, and its group does not know yet.
        case mayNotGoOn
    }

    /// Waits for the group, unless the job was cancelled.
    func waitForDecision() async -> Wait {
        while true {
            let wait: Wait? = status.withLock { status in
                if let decision = status.decision { return .decided(decision) }
                return status.mayGoOn ? nil : .mayNotGoOn
            }
            if let wait { return wait }
            await withCheckedContinuation { continuation in
                change { status in
                    guard status.decision == nil, status.mayGoOn else { return [continuation] }
                    status.undecided.append(continuation)
                    return []
                }
            }
        }
    }
}
