// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps

/// What is checked and taken before a job exists, in the order in which QMP clients are told.
extension BackupJob {
    /// What a job needs and takes at its creation.
    struct Parts {
        var clusterSize: CopyClusterSize
        /// Frozen already.
        var bitmap: SyncBitmap?
    }

    /// Checks everything, takes the devices, freezes the bitmap, and takes the id. A refusal leaves all as it was.
    static func prepare(
        id: String, source: any BlockDevice, target: any BlockDevice, configuration: Configuration,
        registry: JobRegistry
    ) async throws(JobError) -> Parts {
        let mode = try bitmapMode(for: configuration, source: source)
        try check(source: source, target: target, configuration)
        try registry.claim(source: source, target: target)
        var bitmap: SyncBitmap?
        do throws(JobError) {
            if let workers = configuration.maxWorkers, workers < 1 { throw .invalidMaxWorkers(workers) }
            if let mode, let name = configuration.bitmap, let guest = source as? GuestDevice {
                bitmap = try SyncBitmap(name, of: guest, mode: mode)
            }
            if source.length != target.length {
                throw .lengthsDiffer(source: source.length, target: target.length)
            }
            let clusterSize = try await CopyClusterSize(for: target)
            if let chunk = configuration.maxChunk, chunk != 0, chunk < clusterSize.bytes {
                throw .invalidMaxChunk(chunk, clusterSize: clusterSize.bytes)
            }
            try registry.claim(id: id)
            if source.isBacked(by: target) {
                registry.forget(id: id)
                throw .permissionConflict(target.name)
            }
            return Parts(clusterSize: clusterSize, bitmap: bitmap)
        } catch {
            bitmap?.settle(.neverStarted, owed: [])
            registry.release(source: source, target: target)
            throw error
        }
    }

    /// The bitmap mode to use; `nil` without a bitmap.
    private static func bitmapMode(
        for configuration: Configuration, source: any BlockDevice
    ) throws(JobError) -> BitmapMode? {
        let sync = configuration.sync
        var mode = configuration.bitmapMode
        if sync == .bitmap || sync == .incremental {
            if configuration.bitmap == nil { throw .bitmapNameNeeded(sync) }
        }
        if sync == .incremental {
            mode = mode ?? .onSuccess
            if mode != .onSuccess { throw .incrementalNeedsOnSuccess }
        }
        guard let name = configuration.bitmap else {
            if mode != nil { throw .bitmapModeWithoutBitmap }
            return nil
        }
        // Only the device itself is asked, not what is behind it.
        guard let guest = source as? GuestDevice, guest.withBitmaps({ $0.find(name) != nil }) else {
            throw .bitmapNotFound(name)
        }
        guard let mode else { throw .bitmapModeNeeded }
        do throws(DirtyBitmapError) {
            // One that is read-only is found out about when it is frozen: not every mode minds.
            try guest.withBitmaps { (bitmaps) throws(DirtyBitmapError) in try bitmaps.get(name).checkUsable() }
        } catch {
            throw JobError(error)
        }
        if sync == .none { throw .bitmapWithSyncNone }
        if mode == .never, sync == .full || sync == .top { throw .bitmapModeMeaningless(sync) }
        return mode
    }

    private static func check(
        source: any BlockDevice, target: any BlockDevice, _ configuration: Configuration
    ) throws(JobError) {
        if source.underlyingDisk === target.underlyingDisk { throw .sameNode }
        if configuration.sync == .none, !(source is GuestDevice) { throw .guestDeviceNeeded(source: source.name) }
        if configuration.compress, !target.capabilities.canWriteCompressed {
            throw .compressionUnsupported(target: target.name)
        }
    }
}
