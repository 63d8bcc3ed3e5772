// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// The jobs of a process: their ids are unique, and no two of them use the same disk.
package final class JobRegistry: Sendable {
    private struct Entry {
        let id: String
        /// `nil` until it is started.
        var job: BackupJob?
    }

    private struct State {
        /// The oldest first.
        var entries: [Entry] = []
        /// Disks that a job copies from or to.
        var disks: Set<ObjectIdentifier> = []
    }

    private let state = Locked(State())

    package init() {}

    /// The jobs that were started and are not yet forgotten, the newest first.
    package var jobs: [BackupJob] {
        state.withLock { $0.entries.reversed().compactMap(\.job) }
    }

    /// The job of that id, where it was started and is not yet forgotten.
    package func job(_ id: String) -> BackupJob? {
        state.withLock { state in state.entries.first { $0.id == id }?.job }
    }

    /// Whether a job copies from or to the device, so that it must be neither resized, nor removed, nor used by another.
    package func isInUse(_ device: any BlockDevice) -> Bool {
        let disk = ObjectIdentifier(device.underlyingDisk)
        return state.withLock { $0.disks.contains(disk) }
    }

    // MARK: What jobs ask for

    /// Takes both devices for one job.
    ///
    /// - Throws: `JobError.nodeBusy`, for the source first.
    func claim(source: any BlockDevice, target: any BlockDevice) throws(JobError) {
        let devices = [source, target]
        let busy: String? = state.withLock { state in
            let busy = devices.first { state.disks.contains(ObjectIdentifier($0.underlyingDisk)) }
            if let busy { return busy.name }
            for device in devices { state.disks.insert(ObjectIdentifier(device.underlyingDisk)) }
            return nil
        }
        if let busy { throw .nodeBusy(busy) }
    }

    func release(source: any BlockDevice, target: any BlockDevice) {
        state.withLock { state in
            for device in [source, target] { state.disks.remove(ObjectIdentifier(device.underlyingDisk)) }
        }
    }

    /// Takes an id for one job.
    ///
    /// - Throws: `JobError.malformedID`, `.duplicateID`.
    func claim(id: String) throws(JobError) {
        guard Self.isWellFormed(id) else { throw .malformedID(id) }
        let isNew = state.withLock { state in
            if state.entries.contains(where: { $0.id == id }) { return false }
            state.entries.append(Entry(id: id))
            return true
        }
        if !isNew { throw .duplicateID(id) }
    }

    /// Lets a job be found, once it is started.
    func add(_ job: BackupJob) {
        state.withLock { state in
            guard let index = state.entries.firstIndex(where: { $0.id == job.id }) else { return }
            state.entries[index].job = job
        }
    }

    /// Gives the id back.
    func forget(id: String) {
        state.withLock { state in state.entries.removeAll { $0.id == id } }
    }

    /// A letter, then letters, digits, `-`, `.` and `_`.
    private static func isWellFormed(_ id: String) -> Bool {
        guard let first = id.utf8.first, isLetter(first) else { return false }
        return id.utf8.allSatisfy { isLetter($0) || (0x30...0x39).contains($0) || [0x2D, 0x2E, 0x5F].contains($0) }
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
    }
}
