// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// Reading and writing pieces of the disk that lie apart, in one go where they lie together in the file.
extension Qcow2Image {
    package func read(_ pieces: [TransferPiece], into buffer: inout MutableRawSpan) async throws(TransferError) {
        // Of an image that is written, clusters may move while they are read: each piece is locked for itself.
        if !isWritable, (try? await readTogether(pieces, into: &buffer)) != nil { return }
        // Finds out which piece it was.
        for (index, piece) in pieces.enumerated() {
            do throws(BlockError) {
                var part = buffer.slice(piece.slice)
                try await read(at: piece.offset, into: &part)
            } catch {
                throw TransferError(index: index, underlying: error)
            }
        }
    }

    /// Data that is stored in one place and goes to one place.
    private struct StoredRun {
        let host: HostOffset
        var slice: Range<Int>

        /// Makes one run of two where the second goes on as the first ends.
        mutating func absorb(_ next: StoredRun) -> Bool {
            guard slice.upperBound == next.slice.lowerBound, host.bytes + UInt64(slice.count) == next.host.bytes else {
                return false
            }
            slice = slice.lowerBound..<next.slice.upperBound
            return true
        }
    }

    private func readTogether(
        _ pieces: [TransferPiece], into buffer: inout MutableRawSpan
    ) async throws(BlockError) {
        var stored: [StoredRun] = []
        for piece in pieces {
            try checkRange(at: piece.offset, length: UInt64(piece.slice.count))
            var position = piece.slice.lowerBound
            while position < piece.slice.upperBound {
                let guest = GuestOffset(piece.offset + UInt64(position - piece.slice.lowerBound))
                let rest = UInt64(piece.slice.upperBound - position)
                for run in try await metadata.runs(at: guest, length: rest) {
                    // Runs lie in the piece, so their lengths fit.
                    let slice = position..<position + Int(run.length)
                    if case .data(let host) = run.kind {
                        try checkStored(host, run: run, fileLength: storage.length)
                        let next = StoredRun(host: host, slice: slice)
                        if stored.isEmpty || !stored[stored.count - 1].absorb(next) { stored.append(next) }
                    } else {
                        var part = buffer.slice(slice)
                        try await readData(at: run.guest.bytes, into: &part)
                    }
                    position = slice.upperBound
                }
            }
        }
        for run in stored {
            var part = buffer.slice(run.slice)
            try await storage.readPadded(at: run.host.bytes, into: &part)
        }
    }

    package func write(_ pieces: [TransferPiece], from buffer: RawSpan) async throws(TransferError) {
        var index = 0
        while index < pieces.count {
            do throws(BlockError) {
                let count = try await placeless(pieces[index..<index + gatherable(pieces[index...])])
                if count > 1, try await writeTogether(pieces[index..<index + count], from: buffer) {
                    index += count
                } else {
                    try await write(at: pieces[index].offset, from: buffer.extracting(pieces[index].slice))
                    index += 1
                }
            } catch {
                throw TransferError(index: index, underlying: error)
            }
        }
    }

    /// How many pieces, from the first one on, are whole clusters that follow each other in the buffer and, with others in
    /// between, on the disk.
    private func gatherable(_ pieces: ArraySlice<TransferPiece>) -> Int {
        guard isWritable, dataFile == nil else { return 0 }
        var end: (offset: UInt64, slice: Int)?
        var count = 0
        for piece in pieces {
            let range = piece.range
            guard range.upperBound <= length, !range.isEmpty, range.lowerBound.isAligned(to: geometry.clusterLength),
                range.upperBound.isAligned(to: geometry.clusterLength),
                end.map({ $0.offset <= range.lowerBound && $0.slice == piece.slice.lowerBound }) ?? true,
                geometry.l1Index(of: GuestOffset(range.lowerBound))
                    == geometry.l1Index(of: GuestOffset(range.upperBound - 1))
            else { break }
            end = (range.upperBound, piece.slice.upperBound)
            count += 1
        }
        return count
    }

    /// How many pieces, from the first one on, have no clusters yet that would be changed in place.
    private func placeless(_ pieces: ArraySlice<TransferPiece>) async throws(BlockError) -> Int {
        guard pieces.count > 1 else { return pieces.count }
        return try await metadata.changes.withLock { () async throws(BlockError) in
            var count = 0
            for piece in pieces {
                guard try await hasNoPlace(piece.range) else { break }
                count += 1
            }
            return count
        }
    }

    /// Writes pieces to new clusters that follow each other in the file.
    ///
    /// - Returns: false where some of them have got clusters meanwhile, or there is no such room; nothing is done then.
    private func writeTogether(
        _ pieces: ArraySlice<TransferPiece>, from buffer: RawSpan
    ) async throws(BlockError) -> Bool {
        let ticket = await writes.acquire(pieces.map(\.range))
        defer { writes.release(ticket) }
        guard let places = try await placeTogether(pieces) else { return false }
        let slice = pieces[pieces.startIndex].slice.lowerBound..<pieces[pieces.endIndex - 1].slice.upperBound
        do throws(BlockError) {
            try await storage.write(at: places[0].host.bytes, from: buffer.extracting(slice))
        } catch {
            for place in places { try await abandon(place) }
            throw error
        }
        try await metadata.changes.withLock { () async throws(BlockError) in
            for (index, place) in places.enumerated() {
                do throws(BlockError) {
                    try await link(place, at: place.filled.lowerBound)
                } catch {
                    for place in places[(index + 1)...] {
                        try await metadata.release(offset: place.host.bytes, length: place.length)
                    }
                    throw error
                }
            }
        }
        return true
    }

    /// Room for pieces that have none yet, one behind the other; `nil` where that can't be had.
    private func placeTogether(_ pieces: ArraySlice<TransferPiece>) async throws(BlockError) -> [Placement]? {
        try await metadata.changes.withLock { () async throws(BlockError) in
            for piece in pieces {
                guard try await hasNoPlace(piece.range) else { return nil }
            }
            let bits = UInt64(geometry.clusterBits)
            let count = pieces.reduce(0) { $0 + UInt64($1.slice.count) >> bits }
            let found = try await metadata.allocate(atMost: count)
            guard found.count == count else {
                try await metadata.release(offset: found.lowerBound << bits, length: UInt64(found.count) << bits)
                return nil
            }
            var host = found.lowerBound << bits
            return pieces.map { piece in
                defer { host += UInt64(piece.slice.count) }
                return Placement(
                    host: HostOffset(host), length: UInt64(piece.slice.count), isNew: true, needsEntries: true,
                    filled: piece.range)
            }
        }
    }

    /// Whether all clusters of a range get a new place when they are written; called with `changes` held.
    private func hasNoPlace(_ range: Range<UInt64>) async throws(BlockError) -> Bool {
        guard let table = try metadata.l2Table(of: GuestOffset(range.lowerBound)) else { return true }
        for cluster in stride(from: range.lowerBound, to: range.upperBound, by: Int(geometry.clusterLength)) {
            let entry = try await metadata.entry(of: GuestOffset(cluster), in: table)
            guard inPlace(entry, at: cluster) == nil else { return false }
        }
        return true
    }
}
