// SPDX-License-Identifier: GPL-2.0-or-later

import DirtyBitmaps

/// What a user may ask of the job, from any thread.
///
/// Each throws `JobError.verbNotAllowed` where the job's state does not accept it.
extension BackupJob {
    /// Asks the job to end: it finishes what is in hand, and `run` throws `cancelled`. Ends a pause.
    ///
    /// Any number of times; without effect on a job that is over. One that was not started is over at once.
    package func cancel() {
        try? cancel(force: true)
    }

    /// Asks the job to end.
    ///
    /// - Parameter force: also while the user has it paused.
    /// - Throws: `JobError.pausedNeedsForce`.
    package func cancel(force: Bool) throws(JobError) {
        if abandon() { return }
        try lifecycle.cancel(force: force)
    }

    /// Makes the job stand still from the next step on. Guest writes are still copied first.
    ///
    /// - Throws: `JobError.alreadyPaused`.
    package func pause() throws(JobError) {
        try lifecycle.pause()
    }

    /// Ends the user's pause, and one that an error made.
    ///
    /// - Throws: `JobError.notPaused`.
    package func resume() throws(JobError) {
        try lifecycle.resume()
    }

    /// - Parameter speed: bytes each second; 0 for no limit.
    package func setSpeed(_ speed: UInt64) throws(JobError) {
        try lifecycle.set(speed: speed)
    }

    /// Lets a job that waits to be finalised end.
    package func finalize() throws(JobError) {
        try lifecycle.finalize()
    }

    /// Lets a job that is over be forgotten.
    package func dismiss() throws(JobError) {
        try lifecycle.dismiss()
    }

    /// Makes the job stand still by and by, until `endDrain`, whatever the user wants. Drains nest.
    func beginDrain() {
        lifecycle.beginDrain()
    }

    func endDrain() {
        lifecycle.endDrain()
    }

    /// Makes the next guest write to any cluster be copied first once more. The source is drained meanwhile, so that this
    /// is a point in time like the start. What was copied stays counted, so `progress.length` grows by what is owed again.
    /// Emptying the target is the caller's duty.
    ///
    /// - Throws: `JobError.checkpointNeedsSyncNone`; `.checkpointNeedsRun` for a job that copies no more.
    package func checkpoint() async throws(JobError) {
        guard configuration.sync == .none else { throw .checkpointNeedsSyncNone }
        await guest?.beginDrain()
        defer { guest?.endDrain() }
        guard [.created, .running, .paused].contains(state), lifecycle.mayGoOn else {
            throw .checkpointNeedsRun(job: id, state: state)
        }
        copy.withCopyBitmap { $0.setAll() }
    }
}
