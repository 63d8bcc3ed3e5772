// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps

/// A disk as its guest and its readers use it, so that jobs can have their say.
///
/// Writes, zero writes and discards each do the same: wait while the disk is drained, let every hook save what the range
/// held, only then change the disk, and take note of the change in the disk's bitmaps. A hook that fails fails the
/// request, and the disk stays as it was.
///
/// Requests overlap as they like, except those of a job whose target this is and whose source is behind it: such a job's
/// write waits for what is in flight on its range and holds what comes. Otherwise a reader who found the range
/// unallocated could read the source when the guest has already overwritten it.
package final class GuestDevice: DeviceWrapper {
    /// Who makes a change.
    enum Origin {
        case guest
        /// A job whose target this is: drains don't hold it back.
        case job(isSerialising: Bool)
    }

    // Set at init.
    package let disk: any BlockDevice
    let gate = GuestGate()
    /// What is in flight: shared, but for writes that serialise.
    private let ranges = RangeLock()
    private let bitmaps: Locked<NamedBitmaps>

    /// - Parameter disk: no `GuestDevice`: what is written through that one would pass by the hooks of this one.
    package init(_ disk: any BlockDevice) {
        precondition(!(disk is GuestDevice), "a disk has one device for its guests")
        self.disk = disk
        bitmaps = Locked(NamedBitmaps(length: disk.length))
    }

    package var base: any BlockDevice { disk }

    /// Looks at or changes the disk's bitmaps.
    package func withBitmaps<Result: Sendable, Failure: Error>(
        _ body: (inout NamedBitmaps) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try bitmaps.withLock { (bitmaps) throws(Failure) in try body(&bitmaps) }
    }

    // MARK: Jobs

    /// Waits until no request that changes the disk is in flight, and holds new ones until `endDrain`. Drains nest.
    ///
    /// Jobs that work on the disk start nothing new meanwhile.
    package func beginDrain() async {
        await gate.beginDrain()
    }

    package func endDrain() {
        gate.endDrain()
    }

    /// Has `hook` asked before each change from now on. Under a drain, this is a point in time.
    func install(_ hook: any WriteHook) {
        gate.install(hook)
    }

    /// Has `hook` asked no more. It may yet be asked about requests that came before.
    func remove(_ hook: any WriteHook) {
        gate.remove(hook)
    }

    /// Tells `listener` about drains, the present one too.
    func add(_ listener: any DrainListener) {
        gate.add(listener)
    }

    func remove(_ listener: any DrainListener) {
        gate.remove(listener)
    }

    /// Number of requests that a drain holds back.
    var heldCount: Int { gate.heldCount }

    /// Number of requests that wait for one that overlaps them.
    var waitingCount: Int { ranges.waitingCount }

    // MARK: Requests

    func change<Result>(
        _ offset: UInt64, _ length: UInt64, by origin: Origin, _ body: () async throws(BlockError) -> Result
    ) async throws(BlockError) -> Result {
        try checkRange(at: offset, length: length)
        guard length > 0 else { return try await body() }
        let range = offset..<offset + length
        let (isHeld, isShared) =
            switch origin {
            case .guest: (true, true)
            case .job(let isSerialising): (false, !isSerialising)
            }
        let hooks = await gate.enter(isHeld: isHeld)
        defer { gate.leave() }
        let id = await ranges.acquire(range, isShared: isShared)
        defer { ranges.release(id) }
        for hook in hooks { try await hook.beforeChange(of: range) }
        // After the change, so that a bitmap that is cleared meanwhile does not miss it; whether it failed or not, since
        // a part may have been done.
        defer { bitmaps.withLock { $0.record(range) } }
        return try await body()
    }

    package func read(at offset: UInt64, into buffer: inout MutableRawSpan) async throws(BlockError) {
        try checkRange(at: offset, length: UInt64(buffer.byteCount))
        let id = await ranges.acquire(offset..<offset + UInt64(buffer.byteCount), isShared: true)
        defer { ranges.release(id) }
        try await disk.read(at: offset, into: &buffer)
    }

    package func write(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        try await change(offset, UInt64(buffer.byteCount), by: .guest) { () async throws(BlockError) in
            try await disk.write(at: offset, from: buffer)
        }
    }

    package func writeCompressed(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        try await change(offset, UInt64(buffer.byteCount), by: .guest) { () async throws(BlockError) in
            try await disk.writeCompressed(at: offset, from: buffer)
        }
    }

    package func writeZeroes(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try await change(offset, length, by: .guest) { () async throws(BlockError) in
            try await disk.writeZeroes(at: offset, length: length)
        }
    }

    package func copyRange(
        from source: StorageLocation, to offset: UInt64, length: UInt64
    ) async throws(BlockError) -> RangeCopy {
        try await change(offset, length, by: .guest) { () async throws(BlockError) in
            try await disk.copyRange(from: source, to: offset, length: length)
        }
    }

    package func discard(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try await change(offset, length, by: .guest) { () async throws(BlockError) in
            try await disk.discard(at: offset, length: length)
        }
    }
}
