// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService

/// A backup or a restore on its way.
typealias RunningBackup = RunningWork<BackupSummary, ServiceError>

extension RunningBackup {
    init(_ request: BackupRequest, warn: @escaping @Sendable (String) -> Void) {
        self.init(BackupOperation(request, warn: warn))
    }

    init(restoring request: RestoreRequest, warn: @escaping @Sendable (String) -> Void) {
        self.init(BackupOperation(restoring: request, warn: warn))
    }

    private init(_ operation: BackupOperation) {
        self.init(
            progress: { operation.progress }, cancel: { operation.cancel() },
            togglePause: { operation.togglePause() },
            run: { () async throws(ServiceError) -> BackupSummary in try await operation.run() })
    }

    init(
        progress: @escaping @Sendable () -> BackupProgress, cancel: @escaping @Sendable () -> Void,
        togglePause: @escaping @Sendable () -> Bool?,
        run: @escaping @Sendable () async throws(ServiceError) -> BackupSummary
    ) {
        let stop = Stop(
            message: "cancelling, the unfinished target is tidied up (once more: stop at once)", action: cancel)
        self.init(progress: progress, stop: stop, togglePause: togglePause, run: run)
    }
}
