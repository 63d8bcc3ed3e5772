// SPDX-License-Identifier: GPL-2.0-or-later

public import BlockIO
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
/// that the target gets what the disk held when the job started.
public final class BackupJob: Sendable {
    // Set at init.
    public let id: String
    public let configuration: Configuration
    /// What the user should know, one line each.
    public let warnings: [String]
    let copy: BlockCopy
    let lifecycle: JobLifecycle
    /// The source, where a guest writes to it.
    let guest: GuestDevice?

    /// Checks that the backup can be made, and changes nothing yet.
    ///
    /// - Parameter id: what the job is called in messages.
    /// - Throws: the creation cases of `JobError`.
    public convenience init(
        id: String = "backup", source: any BlockDevice, target: any BlockDevice, configuration: Configuration
    ) async throws(JobError) {
        try await self.init(
            id: id, source: source, target: target, configuration: configuration, clock: SystemJobClock())
    }

    init(
        id: String = "backup", source: any BlockDevice, target: any BlockDevice, configuration: Configuration,
        clock: any JobClock
    ) async throws(JobError) {
        try Self.check(configuration, source: source)
        try Self.check(source: source, target: target, compress: configuration.compress)
        let clusterSize = try await CopyClusterSize(for: target)
        if let chunk = configuration.maxChunk, chunk != 0, chunk < clusterSize.bytes {
            throw .invalidMaxChunk(chunk, clusterSize: clusterSize.bytes)
        }
        self.id = id
        self.configuration = configuration
        warnings = [clusterSize.warning].compactMap { $0 }
        let lifecycle = JobLifecycle(job: id, speed: configuration.speed, clock: clock)
        self.lifecycle = lifecycle
        guest = source as? GuestDevice
        copy = BlockCopy(
            source: source, target: target, clusterSize: clusterSize, compress: configuration.compress,
            copyRange: configuration.copyRange,
            chargeGuest: { lifecycle.charge($0, insteadOf: 0) })
        copy.withCopyBitmap { $0.setAll() }
        copy.isScanning = configuration.sync == .top
    }

    private static func check(_ configuration: Configuration, source: any BlockDevice) throws(JobError) {
        switch configuration.sync {
        case .full, .top: break
        case .none: if !(source is GuestDevice) { throw .guestDeviceNeeded(source: source.name) }
        case .incremental, .bitmap: throw .syncModeUnsupported(configuration.sync)
        }
        if let workers = configuration.maxWorkers, workers < 1 {
            throw .invalidMaxWorkers(workers)
        }
    }

    private static func check(
        source: any BlockDevice, target: any BlockDevice, compress: Bool
    ) throws(JobError) {
        if source === target || (source as? GuestDevice)?.disk === target {
            throw .sameNode
        }
        if compress, !target.capabilities.canWriteCompressed {
            throw .compressionUnsupported(target: target.name)
        }
        if source.length != target.length {
            throw .lengthsDiffer(source: source.length, target: target.length)
        }
    }

    /// How far the job is. May be asked at any time, from any thread.
    public var progress: JobProgress {
        copy.progress
    }

    public var state: JobState {
        lifecycle.state
    }

    /// Whether the job stands still because of an error.
    public var ioStatus: IOStatus {
        lifecycle.status.withLock { $0.ioStatus }
    }

    /// What happens to the job, from its creation on, for one reader. Ends with the job's last event.
    public var events: AsyncStream<JobEvent> {
        lifecycle.events
    }

    /// Bytes in a copy cluster.
    public var clusterSize: UInt64 {
        copy.clusterSize.bytes
    }

    /// Bytes of the disk that the target is still owed: none after success, and all that may be missing otherwise.
    public func owedRanges() -> [Range<UInt64>] {
        copy.withCopyBitmap { bitmap in
            var ranges: [Range<UInt64>] = []
            while let area = bitmap.nextDirtyArea(from: ranges.last?.upperBound ?? 0) { ranges.append(area) }
            return ranges
        }
    }
}
