// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps

/// A backup: copies what the sync mode says from one device to another.
///
///     let job = try await BackupJob(source: disk, target: image, configuration: .init(sync: .top))
///     try await job.run(on: workers)
///
/// The target has the source's length. Success means that every write to the target was accepted; bringing the target to
/// stable storage (`flush`) is the caller's part, as is making the target's backing file fit the sync mode. Nothing is
/// taken back from the target when a job fails.
///
/// Where the source is a `GuestDevice`, a guest may go on writing to it: what it is about to overwrite is copied first, so
/// that the target gets what the disk held when the job started. Bitmaps belong to such a device. Where the source is
/// behind the target (fleecing), those who read the point in time must do so through a `GuestDevice` that is the target.
package final class BackupJob: Sendable {
    // Set at init.
    package let id: String
    package let configuration: Configuration
    /// What the user should know, one line each.
    package let warnings: [String]
    let copy: BlockCopy
    let lifecycle: JobLifecycle
    /// The source, where a guest writes to it.
    let guest: GuestDevice?
    let targetDrain: TargetDrain
    /// Frozen while the job is not settled.
    let bitmap: SyncBitmap?
    let registry: JobRegistry
    let source: any BlockDevice
    let target: any BlockDevice

    /// Checks that the backup can be made. Apart from taking the id and the devices and freezing the bitmap, nothing
    /// changes before it is started; a job that is given up before that gives them back.
    ///
    /// - Parameters:
    ///   - id: what the job is called in messages.
    ///   - registry: where jobs meet that must not have ids or devices in common: one for all jobs of a process.
    /// - Throws: the creation cases of `JobError`.
    package convenience init(
        id: String = "backup", source: any BlockDevice, target: any BlockDevice, configuration: Configuration,
        registry: JobRegistry
    ) async throws(JobError) {
        try await self.init(
            id: id, source: source, target: target, configuration: configuration, registry: registry,
            group: JobGroup(), clock: SystemJobClock())
    }

    init(
        id: String = "backup", source: any BlockDevice, target: any BlockDevice, configuration: Configuration,
        registry: JobRegistry = JobRegistry(), group: JobGroup = JobGroup(), clock: any JobClock = SystemJobClock()
    ) async throws(JobError) {
        let parts = try await Self.prepare(
            id: id, source: source, target: target, configuration: configuration, registry: registry)
        self.id = id
        self.configuration = configuration
        self.source = source
        self.target = target
        self.registry = registry
        warnings = [parts.clusterSize.warning].compactMap { $0 }
        bitmap = parts.bitmap
        let guest = source as? GuestDevice
        self.guest = guest
        let lifecycle = JobLifecycle(
            job: id, configuration: configuration, group: group, clock: clock,
            forget: { registry.forget(id: id) })
        self.lifecycle = lifecycle
        targetDrain = TargetDrain(lifecycle, source: guest)
        copy = BlockCopy(
            // The disk itself: a read that the hook makes must not wait for the write that caused it.
            source: source.underlyingDisk, target: Self.writable(target, source: source),
            clusterSize: parts.clusterSize, compress: configuration.compress, copyRange: configuration.copyRange,
            chargeGuest: { lifecycle.charge($0, insteadOf: 0) })
        switch configuration.sync {
        case .full, .none: copy.withCopyBitmap { $0.setAll() }
        case .top:
            copy.withCopyBitmap { $0.setAll() }
            copy.isScanning = true
        // Filled when the job starts: until then writes add to it.
        case .incremental, .bitmap: break
        }
    }

    deinit {
        abandon()
    }

    /// The target as the job writes to it.
    private static func writable(_ target: any BlockDevice, source: any BlockDevice) -> any BlockDevice {
        guard let device = target as? GuestDevice else { return target }
        return JobTarget(device, isSerialising: device.isBacked(by: source))
    }

    // MARK: What users may ask, at any time, from any thread

    /// How far the job is.
    package var progress: JobProgress {
        copy.progress
    }

    package var state: JobState {
        lifecycle.state
    }

    /// Whether the user has the job stand still, or an error on his behalf.
    package var isPaused: Bool {
        lifecycle.status.withLock { $0.isUserPaused }
    }

    /// Whether the job stands still because of an error.
    package var ioStatus: IOStatus {
        lifecycle.status.withLock { $0.ioStatus }
    }

    /// Bytes each second; 0 for no limit.
    package var speed: UInt64 {
        lifecycle.speed
    }

    /// What the job failed with; `nil` after success, and as long as it is not over.
    package var error: JobError? {
        lifecycle.status.withLock { $0.error }
    }

    /// What happens to the job, from its creation on, for one reader. Ends with the job's last event.
    package var events: AsyncStream<JobEvent> {
        lifecycle.events
    }

    /// Bytes in a copy cluster.
    package var clusterSize: UInt64 {
        copy.clusterSize.bytes
    }

    /// Bytes of the disk that the target is still owed: none after success, and all that may be missing otherwise.
    package func owedRanges() -> [Range<UInt64>] {
        // Listed outside the lock, which guests' writes need.
        copy.state.withLock { $0.copyBitmap }.dirtyRanges()
    }

    /// Bytes of the disk that could not be read, so that the target holds zeroes in their place (`sourceTries`).
    package func unreadableRanges() -> [Range<UInt64>] {
        copy.state.withLock { $0.unreadable }?.dirtyRanges() ?? []
    }
}
