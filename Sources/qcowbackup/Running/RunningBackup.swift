// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService

/// What a supervisor needs of a backup: `BackupOperation`, or a stand-in for it.
struct RunningBackup: Sendable {
    var progress: @Sendable () -> BackupProgress
    var cancel: @Sendable () -> Void
    /// As `BackupOperation.togglePause`.
    var togglePause: @Sendable () -> Bool?
    var run: @Sendable () async throws(ServiceError) -> BackupSummary
}

extension RunningBackup {
    init(_ request: BackupRequest, warn: @escaping @Sendable (String) -> Void) {
        let operation = BackupOperation(request, warn: warn)
        progress = { operation.progress }
        cancel = { operation.cancel() }
        togglePause = { operation.togglePause() }
        run = { () async throws(ServiceError) -> BackupSummary in try await operation.run() }
    }
}
