// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService

/// What a supervisor needs of a run: an operation of the service, or a stand-in for it.
struct RunningWork<Value: Sendable, Failure: Error>: Sendable {
    /// What a first stop signal does.
    struct Stop: Sendable {
        /// What to tell the user.
        var message: String
        /// Asks the run to end; it still has to be waited for.
        var action: @Sendable () -> Void
    }

    var progress: @Sendable () -> BackupProgress
    /// `nil` where there is nothing to tidy up: the process just ends.
    var stop: Stop?
    /// As `BackupOperation.togglePause`.
    var togglePause: @Sendable () -> Bool? = { nil }
    var run: @Sendable () async throws(Failure) -> Value
}
