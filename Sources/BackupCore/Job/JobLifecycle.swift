// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// The state of one job, and what has been asked of it.
final class JobLifecycle: Sendable {
    private struct Status {
        var state = JobState.created
        var isCancelled = false
        /// The first failure. Later ones, of workers that were still busy, say nothing new.
        var failure: JobError?
    }

    private let status = Locked(Status())

    var state: JobState {
        status.withLock { $0.state }
    }

    var failure: JobError? {
        status.withLock { $0.failure }
    }

    var isCancelled: Bool {
        status.withLock { $0.isCancelled }
    }

    /// Whether workers may start something new.
    var mayGoOn: Bool {
        status.withLock { !$0.isCancelled && $0.failure == nil }
    }

    func fail(_ error: JobError) {
        status.withLock { status in
            if status.failure == nil { status.failure = error }
        }
    }

    func cancel() {
        status.withLock { status in
            if JobVerb.cancel.isAllowed(in: status.state) { status.isCancelled = true }
        }
    }

    /// Moves to a state that may follow the present one; anything else is a mistake of ours.
    func enter(_ state: JobState) {
        status.withLock { Self.move(&$0, to: state) }
    }

    /// Enters `running`.
    ///
    /// - Throws: `JobError.verbNotAllowed` for a job that ran before; `.cancelled` for one cancelled before it started,
    ///   which is then over.
    func start(job: String) throws(JobError) {
        let error: JobError? = status.withLock { status in
            guard status.state == .created else {
                // QMP has no verb for this.
                return .alreadyStarted(job: job, state: status.state)
            }
            if status.isCancelled {
                Self.move(&status, to: .aborting)
                Self.move(&status, to: .concluded)
                return .cancelled
            }
            Self.move(&status, to: .running)
            return nil
        }
        if let error { throw error }
    }

    /// Ends a run: by success, unless something failed or the job was cancelled until now.
    ///
    /// - Throws: the first failure, or `JobError.cancelled`.
    func conclude() throws(JobError) {
        let error: JobError? = status.withLock { status in
            let error = status.failure ?? (status.isCancelled ? .cancelled : nil)
            if error == nil {
                Self.move(&status, to: .waiting)
                Self.move(&status, to: .pending)
            } else {
                Self.move(&status, to: .aborting)
            }
            Self.move(&status, to: .concluded)
            return error
        }
        if let error { throw error }
    }

    private static func move(_ status: inout Status, to state: JobState) {
        precondition(
            status.state.successors.contains(state), "a job can't go from \(status.state) to \(state)")
        status.state = state
    }
}
