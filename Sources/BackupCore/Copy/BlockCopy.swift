// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import DirtyBitmaps

/// The one copying routine: brings what the copy bitmap owes from the source to the target.
///
/// A caller takes a range, which clears its bits, and copies it with a buffer of its own; what fails is owed again. Zeroes
/// that the source knows of are written as zeroes, however long the run; stored ranges are offloaded where the target
/// can; the rest goes through the buffer, where zeroes are looked for cluster by cluster, and each run of data is one
/// write. Neither device is flushed.
final class BlockCopy: Sendable {
    // Set at init.
    let source: any BlockDevice
    let target: any BlockDevice
    let clusterSize: CopyClusterSize
    let length: UInt64
    let compress: Bool
    /// Longest single read or plain write in bytes.
    private let maximumTransfer: UInt64

    private let state: Locked<CopyState>

    /// Nothing is owed until the bitmap is filled.
    ///
    /// - Parameters:
    ///   - compress: ask the target to compress; it must be able to.
    ///   - copyRange: try copy offload where the target can.
    init(
        source: any BlockDevice, target: any BlockDevice, clusterSize: CopyClusterSize, compress: Bool, copyRange: Bool
    ) {
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
                mayOffload: copyRange && !compress && target.capabilities.canCopyRange))
    }

    /// Bytes to take at once so that no transfer is longer than a device allows: whole clusters, at least one.
    func chunkLength(atMost length: UInt64) -> UInt64 {
        max(min(length, maximumTransfer).alignedDown(to: clusterSize.bytes), clusterSize.bytes)
    }

    // MARK: The bitmap

    /// Looks at or changes the copy bitmap.
    func withCopyBitmap<Result: Sendable>(_ body: (DirtyBitmap) -> Result) -> Result {
        state.withLock { state in
            // Whoever sets bits need not know where the search stands.
            state.cursor = 0
            return body(state.copyBitmap)
        }
    }

    /// Takes clusters that need not be copied out of what is owed.
    func skip(_ range: Range<UInt64>) {
        state.withLock { state in
            state.copyBitmap.reset(range)
            state.counters.skipped &+= range.upperBound - range.lowerBound
        }
    }

    /// Whether nothing is owed and nothing in flight.
    var isComplete: Bool {
        state.withLock { $0.copyBitmap.isEmpty && $0.inFlight.isEmpty }
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
    func take(limit: UInt64, growth: UInt64) -> CopyRequest? {
        state.withLock { $0.take(limit: limit, growth: growth) }
    }

    /// Copies a range that was taken on. On an error the clusters that are not done are owed again.
    ///
    /// - Parameter buffer: at least one cluster; the range goes through it in pieces where it is shorter.
    func copy(_ request: consuming CopyRequest, through buffer: inout AlignedBuffer) async throws(CopyError) {
        var request = request
        var position = request.range.lowerBound
        var counters = CopyCounters()
        var planner = CopyPlanner(source: source, unit: clusterSize.zeroUnit, length: length)
        do throws(CopyError) {
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
            finish(request, doneTo: position, counters)
            throw error
        }
        finish(request, doneTo: position, counters)
    }

    private func finish(_ request: CopyRequest, doneTo position: UInt64, _ counters: CopyCounters) {
        let waiters = state.withLock { $0.finish(request, doneTo: position, counters: counters) }
        for waiter in waiters { waiter.resume() }
    }

    /// Makes a request that ends in zeroes as long as the zeroes go on.
    private func grow(_ request: inout CopyRequest) async {
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

    // MARK: Ways to copy

    private func writeZeroes(_ range: Range<UInt64>) async throws(CopyError) {
        do {
            try await target.writeZeroes(at: range.lowerBound, length: range.upperBound - range.lowerBound)
        } catch {
            throw CopyError(operation: .writeZeroes, range: range, underlying: error)
        }
    }

    /// False where it failed, which is no error: the same clusters then go through the buffer.
    private func offload(from location: StorageLocation, to range: Range<UInt64>) async -> Bool {
        do {
            try await target.copyRange(
                from: location, to: range.lowerBound, length: range.upperBound - range.lowerBound)
            return true
        } catch {
            return false
        }
    }

    /// Reads the range, which fits into the buffer, and writes it as runs of zeroes and runs of data.
    private func copyThroughBuffer(
        _ range: Range<UInt64>, _ buffer: inout AlignedBuffer, _ counters: inout CopyCounters
    ) async throws(CopyError) {
        // No more than the buffer holds, so it fits an Int.
        let count = Int(range.upperBound - range.lowerBound)
        try await read(range, into: &buffer)
        counters.read &+= UInt64(count)
        let unit = Int(clusterSize.zeroUnit)
        var offset = 0
        while offset < count {
            let run = ZeroRun(in: buffer.prefix(count), from: offset, unit: unit)
            let start = range.lowerBound + UInt64(offset)
            if run.isZero {
                try await writeZeroes(start..<start + UInt64(run.count))
                counters.zero &+= UInt64(run.count)
            } else {
                try await write(offset..<offset + run.count, of: buffer, at: start)
                counters.written &+= UInt64(run.count)
            }
            offset += run.count
        }
    }

    private func read(_ range: Range<UInt64>, into buffer: inout AlignedBuffer) async throws(CopyError) {
        var position = range.lowerBound
        while position < range.upperBound {
            let end = position + min(range.upperBound - position, maximumTransfer)
            let start = Int(position - range.lowerBound)
            do {
                var span = buffer.mutableSlice(start..<Int(end - range.lowerBound))
                try await source.read(at: position, into: &span)
            } catch {
                throw CopyError(operation: .read, range: position..<end, underlying: error)
            }
            position = end
        }
    }

    /// Writes one run of data.
    private func write(_ slice: Range<Int>, of buffer: borrowing AlignedBuffer, at offset: UInt64)
        async throws(CopyError)
    {
        if compress {
            do {
                try await target.writeCompressed(at: offset, from: buffer.bytes.extracting(slice))
            } catch {
                throw CopyError(
                    operation: .writeCompressed, range: offset..<offset + UInt64(slice.count), underlying: error)
            }
            return
        }
        var start = slice.lowerBound
        while start < slice.upperBound {
            let end = start + Int(min(UInt64(slice.upperBound - start), maximumTransfer))
            let position = offset + UInt64(start - slice.lowerBound)
            do {
                try await target.write(at: position, from: buffer.bytes.extracting(start..<end))
            } catch {
                throw CopyError(
                    operation: .write, range: position..<position + UInt64(end - start), underlying: error)
            }
            start = end
        }
    }
}
