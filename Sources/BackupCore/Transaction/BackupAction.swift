// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// Starts a backup job.
package final class BackupAction: TransactionAction, Sendable {
    // Set at init.
    private let id: String
    private let source: any BlockDevice
    private let target: any BlockDevice
    private let configuration: BackupJob.Configuration
    private let registry: JobRegistry
    private let made = Locked<BackupJob?>(nil)

    /// The job, once it is prepared.
    package var job: BackupJob? {
        made.withLock { $0 }
    }

    package init(
        id: String, source: any BlockDevice, target: any BlockDevice, configuration: BackupJob.Configuration,
        registry: JobRegistry
    ) {
        self.id = id
        self.source = source
        self.target = target
        self.configuration = configuration
        self.registry = registry
    }

    package var name: String { "blockdev-backup" }

    package var devices: [GuestDevice] {
        [source as? GuestDevice, target as? GuestDevice].compactMap { $0 }
    }

    package func prepare(in group: TransactionGroup) async throws(JobError) {
        let job = try await BackupJob(
            id: id, source: source, target: target, configuration: configuration, registry: registry,
            group: group.jobGroup, clock: group.clock)
        made.withLock { $0 = job }
    }

    package func commit(in group: TransactionGroup) {
        do {
            try job?.begin()
            job?.workInBackground(on: group.workers, threads: group.threads)
        } catch {
            // Cancelled already, and over.
        }
    }

    package func undo() {
        job?.abandon()
    }
}
