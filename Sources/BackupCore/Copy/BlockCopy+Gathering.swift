// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// Copying short ranges that lie apart.
///
/// A worker takes on as many as its buffer holds. Their data is read, and then written, in one call each, so that a device
/// can move in one go what lies together on its side. Once it has begun, a worker waits for nothing but the devices: guests
/// may be waiting for any of its requests.
extension BlockCopy {
    /// Most requests that are copied together.
    private static let mostRequests = 64

    /// Takes on what is owed next, up to `limit` bytes, and copies it. Where that fails, what is not done is owed again.
    ///
    /// - Parameters:
    ///   - limit: bytes that go through the buffer at most, a multiple of the cluster size and no more than it holds.
    ///   - growth: how many bytes may be written as zeroes.
    /// - Returns: bytes that were moved; `nil` where there was nothing to take on.
    func copyNext(
        limit: UInt64, growth: UInt64, through buffer: inout AlignedBuffer
    ) async throws(CopyError) -> UInt64? {
        guard let first = take(limit: limit, growth: growth) else { return nil }
        guard !first.isAlone, !compress, limit <= maximumTransfer else {
            return try await copy(first, through: &buffer)
        }
        var batch = CopyBatch()
        var next: CopyRequest? = first
        while let request = next {
            try await add(request, to: &batch)
            next = takeMore(for: batch, limit: limit, growth: growth)
        }
        try await move(&batch, through: &buffer)
        return batch.members.reduce(0) { $0 &+ $1.counters.read }
    }

    private func takeMore(for batch: CopyBatch, limit: UInt64, growth: UInt64) -> CopyRequest? {
        // The buffer's length and less.
        let room = (limit - UInt64(batch.length)).alignedDown(to: clusterSize.bytes)
        guard room > 0, batch.members.count < Self.mostRequests, batch.zeroLength < growth else { return nil }
        return take(limit: room, growth: growth - batch.zeroLength, isGathering: true)
    }

    /// Adds a request to the batch, and writes what the source knows to be zero.
    private func add(_ request: CopyRequest, to batch: inout CopyBatch) async throws(CopyError) {
        batch.members.append(CopyBatch.Member(request: request, pieceEnd: batch.pieces.count))
        let last = batch.members.count - 1
        var planner = CopyPlanner(source: source, unit: clusterSize.zeroUnit, length: length)
        var position = request.range.lowerBound
        while position < batch.members[last].request.range.upperBound {
            let limit = batch.members[last].request.range.upperBound
            let piece = await planner.next(at: position, end: limit, longest: limit - position, mayOffload: false)
            var end = piece.end
            if case .zero = piece.method {
                if end == limit {
                    await grow(&batch.members[last].request)
                    end = batch.members[last].request.range.upperBound
                }
                do throws(CopyError) {
                    try await writeZeroes(position..<end)
                } catch {
                    conclude(batch, from: 0, failed: last)
                    throw error
                }
                batch.members[last].counters.zero &+= end - position
                batch.zeroLength &+= end - position
            } else {
                batch.append(position..<end)
            }
            position = end
        }
    }

    /// Reads and writes all that the batch holds, and ends its requests.
    private func move(_ batch: inout CopyBatch, through buffer: inout AlignedBuffer) async throws(CopyError) {
        do throws(TransferError) {
            var bytes = buffer.mutablePrefix(batch.length)
            if batch.pieces.count == 1 {
                try await source.readOne(batch.pieces[0], into: &bytes)
            } else if !batch.pieces.isEmpty {
                try await source.read(batch.pieces, into: &bytes)
            }
        } catch {
            conclude(batch, from: 0, failed: batch.member(ofPiece: error.index))
            throw CopyError(operation: .read, range: batch.pieces[error.index].range, underlying: error.underlying)
        }
        var data: [TransferPiece] = []
        // The member of each.
        var owners: [Int] = []
        for (index, piece) in batch.pieces.enumerated() {
            let owner = batch.member(ofPiece: index)
            batch.members[owner].counters.read &+= UInt64(piece.slice.count)
            var offset = piece.slice.lowerBound
            while offset < piece.slice.upperBound {
                let run = ZeroRun(
                    in: buffer.prefix(piece.slice.upperBound), from: offset, unit: Int(clusterSize.zeroUnit))
                let start = piece.offset + UInt64(offset - piece.slice.lowerBound)
                if run.isZero {
                    do throws(CopyError) {
                        try await writeZeroes(start..<start + UInt64(run.count))
                    } catch {
                        conclude(batch, from: 0, failed: owner)
                        throw error
                    }
                    batch.members[owner].counters.zero &+= UInt64(run.count)
                } else {
                    data.append(TransferPiece(offset: start, slice: offset..<offset + run.count))
                    owners.append(owner)
                    batch.members[owner].counters.written &+= UInt64(run.count)
                }
                offset += run.count
            }
        }
        do throws(TransferError) {
            if data.count == 1 {
                try await target.writeOne(data[0], from: buffer.bytes)
            } else if !data.isEmpty {
                try await target.write(data, from: buffer.bytes)
            }
        } catch {
            conclude(batch, from: owners[error.index], failed: owners[error.index])
            throw CopyError(operation: .write, range: data[error.index].range, underlying: error.underlying)
        }
        conclude(batch, from: batch.members.count, failed: nil)
    }

    /// Ends the requests of a batch: the first ones are done, all others owed again.
    ///
    /// - Parameters:
    ///   - firstOwed: the first one that is not done.
    ///   - failed: the one that keeps the others from being taken on before the job has decided.
    private func conclude(_ batch: CopyBatch, from firstOwed: Int, failed: Int?) {
        // First, so that nobody takes on the others before that.
        if let failed {
            let request = batch.members[failed].request
            finish(request, doneTo: request.range.lowerBound, CopyCounters(), true)
        }
        for (index, member) in batch.members.enumerated() where index != failed {
            let range = member.request.range
            let isDone = index < firstOwed
            finish(
                member.request, doneTo: isDone ? range.upperBound : range.lowerBound,
                isDone ? member.counters : CopyCounters(), false)
        }
    }
}

extension BlockDevice {
    fileprivate func readOne(_ piece: TransferPiece, into buffer: inout MutableRawSpan) async throws(TransferError) {
        do throws(BlockError) {
            try await read(at: piece.offset, into: &buffer)
        } catch {
            throw TransferError(index: 0, underlying: error)
        }
    }

    fileprivate func writeOne(_ piece: TransferPiece, from buffer: RawSpan) async throws(TransferError) {
        do throws(BlockError) {
            try await write(at: piece.offset, from: buffer.extracting(piece.slice))
        } catch {
            throw TransferError(index: 0, underlying: error)
        }
    }
}
