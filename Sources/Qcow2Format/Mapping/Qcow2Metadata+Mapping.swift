// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// Reading the cluster mapping.
///
/// Spec: “Cluster mapping”.
extension Qcow2Metadata {
    /// How guest bytes are stored, from `guest` on: up to `length` bytes, and at most one piece of an L2 table behind
    /// a range that has none.
    ///
    /// - Parameters:
    ///   - length: more than 0; the range lies on the disk.
    ///   - limit: number of runs after which to stop; the last one may then be shorter than it could be.
    /// - Returns: at least one run; they follow each other without a gap.
    func runs(at guest: GuestOffset, length: UInt64, limit: Int = .max) async throws(BlockError) -> [ClusterRun] {
        var runs: [ClusterRun] = []
        let end = guest.bytes + length
        var position = guest.bytes
        while position < end {
            let index = geometry.l1Index(of: GuestOffset(position))
            let entry = L1Entry(rawValue: state.withLock { $0.l1[index] })
            guard let table = try checkedTable(entry, index: index) else {
                // The next L1 entry's range may start past 2^64 for the largest disks.
                let next = (UInt64(index) + 1).multiplied(by: 1 << UInt64(geometry.l2CoverageBits)) ?? end
                let run = ClusterRun(
                    guest: GuestOffset(position), length: min(next, end) - position, kind: .unallocated)
                if runs.isEmpty || !runs[runs.count - 1].absorb(run) { runs.append(run) }
                position = run.end
                continue
            }
            // One piece: more would keep a query of a large disk busy for long.
            if runs.isEmpty {
                try await decode(table, from: position, to: end, limit: limit, into: &runs)
            }
            break
        }
        return runs
    }

    /// The checked offset of an L2 table; `nil` where there is none.
    func checkedTable(_ entry: L1Entry, index: Int) throws(BlockError) -> HostOffset? {
        guard !entry.hasReservedBits else {
            throw failure(.l1ReservedBits(index: index, entry: entry.rawValue))
        }
        guard let table = entry.l2TableOffset else { return nil }
        guard table.bytes.isAligned(to: geometry.clusterLength) else {
            throw failure(.notAligned(.l2Table, offset: table.bytes))
        }
        return table
    }

    private func decode(
        _ table: HostOffset, from start: UInt64, to end: UInt64, limit: Int, into runs: inout [ClusterRun]
    ) async throws(BlockError) {
        let entryLength = geometry.l2EntryWords * 8
        let (offset, index) = piece(of: entryPosition(in: table, of: GuestOffset(start)))
        let bytes = try await readPiece(at: offset)
        let clusterLength = geometry.clusterLength
        var position = start
        var inside = index
        do throws(Qcow2Error.Problem) {
            while position < end, inside < bytes.count, runs.count <= limit {
                let clusterEnd = min(position.alignedDown(to: clusterLength).adding(clusterLength) ?? end, end)
                let (entry, bitmap) = Self.words(in: bytes, at: inside, hasBitmap: geometry.hasSubclusters)
                try decoder.appendRuns(of: position..<clusterEnd, entry: entry, bitmap: bitmap, to: &runs)
                position = clusterEnd
                inside += entryLength
                // Most runs are long: the entries that only go on are passed over quickly.
                let isWanted = position < end && runs.count <= limit
                let clusters = isWanted ? Int((end - position) / clusterLength) : 0
                let more = decoder.continuation(of: runs[runs.count - 1], in: bytes, at: inside, limit: clusters)
                runs[runs.count - 1].length += UInt64(more) * clusterLength
                position += UInt64(more) * clusterLength
                inside += more * entryLength
            }
        } catch {
            throw failure(error)
        }
        // One run too many shows that the last one wanted is complete.
        if runs.count > limit { runs.removeSubrange(limit...) }
    }

    /// The file position of a guest offset's L2 entry.
    func entryPosition(in table: HostOffset, of guest: GuestOffset) -> UInt64 {
        table.bytes + UInt64(geometry.l2Index(of: guest) * geometry.l2EntryWords * 8)
    }

    private func readPiece(at offset: UInt64) async throws(BlockError) -> [UInt8] {
        if let bytes = cachedPiece(at: offset) { return bytes }
        return try await changes.withLock { () async throws(BlockError) in
            try await loadPiece(at: offset, of: .l2Table)
        }
    }

    static func words(in bytes: [UInt8], at index: Int, hasBitmap: Bool) -> (L2Entry, UInt64) {
        // In bounds: entries divide a piece evenly, and `index` is that of an entry.
        let span = bytes.span.bytes
        let entry = UInt64(bigEndian: span.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self))
        guard hasBitmap else { return (L2Entry(rawValue: entry), 0) }
        let bitmap = UInt64(bigEndian: span.unsafeLoadUnaligned(fromByteOffset: index + 8, as: UInt64.self))
        return (L2Entry(rawValue: entry), bitmap)
    }
}
