// SPDX-License-Identifier: GPL-2.0-or-later

/// Something that happened to a job, in the order in which it happened.
package enum JobEvent: Sendable {
    case statusChanged(JobState)
    /// The copying failed, and this is what the job does about it.
    case failure(CopyError, action: ErrorAction)
    /// The job waits to be finalised by its user.
    case pending
    /// The job is over: well where there is no error.
    case completed(error: JobError?, progress: JobProgress)
    /// The job is over because it was cancelled.
    case cancelled(progress: JobProgress)
}

/// How a job ended, as far as what it leaves behind depends on it.
enum JobOutcome: Sendable {
    case success
    /// It failed or was cancelled, and something may have been copied.
    case failure
    /// It was cancelled before its point in time: nothing was copied.
    case neverStarted
}
