// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// What a user, or a device that needs quiet, asks of a job.
extension JobLifecycle {
    private func check(_ verb: JobVerb, _ status: JobStatus) -> JobError? {
        verb.isAllowed(in: status.state) ? nil : .verbNotAllowed(verb: verb, state: status.state, job: job)
    }

    /// Does what a verb asks, where the job's state allows it.
    private func perform(_ verb: JobVerb, _ body: (inout JobStatus) -> Result<[JobStatus.Waiter], JobError>)
        throws(JobError)
    {
        var error: JobError?
        change { status in
            error = check(verb, status)
            if error != nil { return [] }
            switch body(&status) {
            case .success(let woken): return woken
            case .failure(let refusal):
                error = refusal
                return []
            }
        }
        if let error { throw error }
    }

    /// Asks the job to end. Ends the user's pause.
    ///
    /// - Parameter force: also while the user has it paused.
    func cancel(force: Bool) throws(JobError) {
        try perform(.cancel) { status in
            if !force, status.isUserPaused { return .failure(.pausedNeedsForce(job: job)) }
            return .success(status.cancel())
        }
    }

    func pause() throws(JobError) {
        try perform(.pause) { status in
            if status.isUserPaused { return .failure(.alreadyPaused(job: job)) }
            status.isUserPaused = true
            // Sleepers are to stand still now, not when they have slept.
            return .success(status.wakeSleepers())
        }
    }

    func resume() throws(JobError) {
        try perform(.resume) { status in
            if !status.isUserPaused { return .failure(.notPaused(job: job)) }
            status.isUserPaused = false
            status.ioStatus = .ok
            return .success(status.shouldPause ? [] : status.wakeAll())
        }
    }

    func set(speed: UInt64) throws(JobError) {
        try perform(.setSpeed) { status in
            let old = status.limit.speed
            status.limit.set(speed: speed)
            // A lower speed lets those who sleep finish their sleep.
            return .success(speed == 0 || (old != 0 && speed > old) ? status.wakeSleepers() : [])
        }
    }

    /// Lets the job end, and those that end with it.
    func finalize() throws(JobError) {
        try perform(.finalize) { _ in .success([]) }
        group.finalize()
    }

    func dismiss() throws(JobError) {
        try perform(.dismiss) { status in
            status.move(to: .null)
            return .success([])
        }
        leave()
    }
}
