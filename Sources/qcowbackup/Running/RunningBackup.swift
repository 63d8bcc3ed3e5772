// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService

/// What a supervisor needs of a run: `BackupOperation`, or a stand-in for it.
struct RunningBackup: Sendable {
    var progress: @Sendable () -> BackupProgress
    var cancel: @Sendable () -> Void
    /// As `BackupOperation.togglePause`.
    var togglePause: @Sendable () -> Bool?
    var run: @Sendable () async throws(ServiceError) -> BackupSummary
}

extension RunningBackup {
    init(_ request: BackupRequest, warn: @escaping @Sendable (String) -> Void) {
        self.init(BackupOperation(request, warn: warn))
    }

    init(restoring request: RestoreRequest, warn: @escaping @Sendable (String) -> Void) {
        self.init(BackupOperation(restoring: request, warn: warn))
    }

    private init(_ operation: BackupOperation) {
        progress = { operation.progress }
        cancel = { operation.cancel() }
        togglePause = { operation.togglePause() }
        run = { () async throws(ServiceError) -> BackupSummary in try await operation.run() }
    }
}
