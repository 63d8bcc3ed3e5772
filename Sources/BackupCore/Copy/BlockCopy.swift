// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import DirtyBitmaps

/// The one copying routine: brings what the copy bitmap owes from the source to the target.
///
/// A caller takes a range, which clears its bits, and copies it with a buffer of its own; what fails is owed again. Zeroes
/// that the source knows of are written as zeroes, however long the run; stored ranges are offloaded where the target
/// can; the rest goes through the buffer, where zeroes are looked for cluster by cluster, and each run of data is one
/// write. Short ranges are gathered and go through the buffer together. Neither device is flushed.
final class BlockCopy: Sendable {
    // Set at init.
    let source: any BlockDevice
    let target: any BlockDevice
    let clusterSize: CopyClusterSize
    let length: UInt64
    let compress: Bool
    /// Told about the bytes that were copied for guests.
    let chargeGuest: @Sendable (UInt64) -> Void
    /// Longest single read or plain write in bytes.
    let maximumTransfer: UInt64

    /// Room for the buffers of guests' requests, of which there may be any number at a time.
    let guestMemory = MemoryBudget(bytes: guestMemoryLimit)

    let state: Locked<CopyState>

    /// Nothing is owed until the bitmap is filled.
    ///
    /// - Parameters:
    ///   - compress: ask the target to compress; it must be able to.
    ///   - copyRange: try copy offload where the target can.
    ///   - chargeGuest: told about the bytes that were copied for guests.
    init(
        source: any BlockDevice, target: any BlockDevice, clusterSize: CopyClusterSize, compress: Bool, copyRange: Bool,
        chargeGuest: @escaping @Sendable (UInt64) -> Void
    ) {
        self.chargeGuest = chargeGuest
        self.source = source
        self.target = target
        self.clusterSize = clusterSize
        self.compress = compress
        length = source.length
        let limits = [source.capabilities.maximumTransfer, target.capabilities.maximumTransfer].compactMap { $0 }
        maximumTransfer = (limits.filter { $0 > 0 }.min() ?? .max)
        guard let bitmap = try? DirtyBitmap(length: source.length, granularity: clusterSize.bytes) else {
            preconditionFailure("a copy cluster is a power of two from 64 KiB to 32 MiB")
        }
        state = Locked(
            CopyState(
                length: source.length, clusterSize: clusterSize.bytes, copyBitmap: bitmap,
                mayOffload: copyRange && !compress && target.capabilities.canCopyRange
                    && maximumTransfer >= clusterSize.zeroUnit))
    }

    /// Longest offloaded piece in bytes.
    private var offloadLimit: UInt64 {
        maximumTransfer.alignedDown(to: clusterSize.zeroUnit)
    }

    /// Bytes to take at once so that no transfer is longer than a device allows: whole clusters, at least one.
    func chunkLength(atMost length: UInt64) -> UInt64 {
        max(min(length, maximumTransfer).alignedDown(to: clusterSize.bytes), clusterSize.bytes)
    }

    // MARK: The bitmap

    /// Looks at or changes the copy bitmap.
    func withCopyBitmap<Result: Sendable>(_ body: (inout DirtyBitmap) -> Result) -> Result {
        state.withLock { state in
            // Whoever sets bits need not know where the search stands.
            state.cursor = 0
            return body(&state.copyBitmap)
        }
    }

    /// Takes clusters that need not be copied out of what is owed.
    func skip(_ range: Range<UInt64>) {
        state.withLock { $0.skip(range) }
    }

    /// Has a cluster that can't be read copied as zeroes from now on.
    func giveUp(_ cluster: Range<UInt64>) {
        state.withLock { $0.giveUp(cluster) }
    }

    /// Whether nothing is owed and nothing in flight.
    var isComplete: Bool {
        state.withLock { $0.copyBitmap.isEmpty && $0.inFlight.isEmpty }
    }

    /// Whether `take` would find something now.
    var canTake: Bool {
        state.withLock { !$0.isHeld && !$0.copyBitmap.isEmpty }
    }

    /// Whether it isn't known yet what the top layer holds.
    var isScanning: Bool {
        get { state.withLock { $0.isScanning } }
        set { state.withLock { $0.isScanning = newValue } }
    }

    var progress: JobProgress {
        state.withLock { state in
            JobProgress(
                offset: state.doneLength, remaining: state.copyBitmap.dirtyLength.adding(state.inFlightLength) ?? .max,
                counters: state.counters)
        }
    }

    // MARK: Copying

    /// Takes on the next range that is owed; `nil` where there is none, and after a failure. The caller must then `copy` it.
    ///
    /// A failure holds up the others in the same step that makes the range owed again: they can't start on it before
    /// the job has decided.
    ///
    /// - Parameters:
    ///   - limit: longest range in bytes, a multiple of the cluster size.
    ///   - growth: how long it may become, in bytes, where the source says that it is zero.
    ///   - isGathering: whether it is going to be copied with others: `nil` then where it has to be copied alone.
    func take(limit: UInt64, growth: UInt64, isGathering: Bool = false) -> CopyRequest? {
        state.withLock { $0.take(limit: limit, growth: growth, isGathering: isGathering) }
    }

    /// Lets ranges be taken again after a failure.
    func release() {
        state.withLock { $0.isHeld = false }
    }

    /// Copies a range that was taken on. On an error the clusters that are not done are owed again.
    ///
    /// - Parameters:
    ///   - buffer: at least one cluster; the range goes through it in pieces where it is shorter.
    ///   - holdsOthers: whether `take` answers `nil` after a failure until `release`.
    /// - Returns: what was moved, in bytes: read, or offloaded. Zeroes that the source knows of cost neither.
    @discardableResult
    func copy(
        _ request: consuming CopyRequest, through buffer: inout AlignedBuffer, holdsOthers: Bool = true
    ) async throws(CopyError) -> UInt64 {
        var request = request
        var position = request.range.lowerBound
        var counters = CopyCounters()
        var planner = CopyPlanner(source: source, unit: clusterSize.zeroUnit, length: length)
        do throws(CopyError) {
            if request.isUnreadable {
                try await writeZeroes(request.range)
                counters.zero &+= request.range.upperBound - position
                position = request.range.upperBound
            }
            while position < request.range.upperBound {
                let piece = await planner.next(
                    at: position, end: request.range.upperBound, longest: UInt64(buffer.count),
                    mayOffload: request.mayOffload)
                var end = piece.end
                switch piece.method {
                case .zero:
                    if end == request.range.upperBound {
                        await grow(&request)
                        end = request.range.upperBound
                    }
                    try await writeZeroes(position..<end)
                    counters.zero &+= end - position
                case .offload(let location):
                    // A multiple of the unit, as all pieces are that don't end the request.
                    end = position + min(end - position, offloadLimit)
                    if await offload(from: location, to: position..<end) {
                        counters.written &+= end - position
                        counters.offloaded &+= end - position
                    } else {
                        request.mayOffload = false
                        state.withLock { $0.mayOffload = false }
                        continue
                    }
                case .buffer:
                    try await copyThroughBuffer(position..<end, &buffer, &counters)
                }
                position = end
            }
        } catch {
            finish(request, doneTo: position, counters, holdsOthers)
            throw error
        }
        finish(request, doneTo: position, counters, holdsOthers)
        return counters.read + counters.offloaded
    }

    func finish(
        _ request: CopyRequest, doneTo position: UInt64, _ counters: CopyCounters, _ holdsOthers: Bool
    ) {
        let waiters = state.withLock {
            $0.finish(request, doneTo: position, counters: counters, holdsOthers: holdsOthers)
        }
        for waiter in waiters { waiter.resume() }
    }

    /// Makes a request that ends in zeroes as long as the zeroes go on.
    func grow(_ request: inout CopyRequest) async {
        let start = request.range.upperBound
        let limit = state.withLock { $0.ownedEnd(after: request) }
        guard limit > start else { return }
        guard
            let extent = try? await source.blockStatus(at: start, length: limit - start, in: .chain),
            extent.readsAsZero
        else { return }
        var end = start + min(extent.length, limit - start)
        if end < length { end = end.alignedDown(to: clusterSize.bytes) }
        if end > start { state.withLock { $0.grow(&request, to: end) } }
    }
}
