// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

extension ImageRepair {
    /// Writes the snapshot table anew, with extra data as every entry should have it, and makes the header lead there.
    ///
    /// The new table goes to clusters that nothing uses, and these count as used before the header leads to them; the old
    /// ones leak until that is repaired.
    ///
    /// - Returns: whether something was changed.
    func mendSnapshots(of run: CheckRun) async throws(BlockError) -> Bool {
        guard run.hasMendableSnapshots else { return false }
        guard !run.hasLostReferences else {
            announce("the snapshot table is left as it is: parts of the image that are damaged may lie anywhere")
            return false
        }
        guard let table = try await mendedTable(run) else {
            announce("the snapshot table is left as it is: it would be too large")
            return false
        }
        let bits = run.clusterBits
        let count = UInt64(table.count).dividedRoundingUp(by: run.clusterLength)
        guard run.lowestPastEnd >= (run.clusterCount + count) << bits else {
            announce("the snapshot table is left as it is: broken entries lead to where a new one would be")
            return false
        }
        announce("the snapshot table is written anew, with what its entries should have")
        let first = try await reserve(count, run)
        let padding = [UInt8](repeating: 0, count: Int(count << bits) - table.count)
        try await file.write(at: first << bits, from: (table + padding).span.bytes)
        try await file.flush()
        pending = [
            StructureRange(structure: .snapshotTable, offset: first << bits, length: UInt64(table.count), count: 1)
        ]
        defer { pending = [] }
        let counted = try await gatheredRun()
        try await counted.compareAll()
        _ = try await repairRefcounts(counted)
        guard try await isCounted(first..<first + count) else {
            announce("the snapshot table is left where it was: its new clusters can't be counted")
            return false
        }
        try await changeHeader { $0.storeBigEndian(first << bits, at: 64) }  // snapshots_offset
        return true
    }

    private func isCounted(_ clusters: Range<UInt64>) async throws(BlockError) -> Bool {
        let run = try await gatheredRun()
        for cluster in clusters where try await run.refcount(of: cluster) != 1 { return false }
        return true
    }

    /// - Returns: `nil` where the table would pass its limit.
    private func mendedTable(_ run: CheckRun) async throws(BlockError) -> [UInt8]? {
        let header = run.header.header
        var table: [UInt8] = []
        var offset = header.snapshotsOffset
        for _ in 0..<header.snapshotCount {
            let fixed = try await run.reader.bytes(at: offset, count: Int(SnapshotEntry.fixedLength))
            // The check has followed all entries.
            guard let entry = try? SnapshotEntry(decoding: fixed.span.bytes) else { return nil }
            let start = offset + SnapshotEntry.fixedLength
            let known = min(entry.extraLength, SnapshotEntry.maximumExtraLength)
            var extra = try await run.reader.bytes(at: start, count: Int(known))
            switch entry.extraDefect(version: run.layout.version) {
            case .none: break
            case .tooShort:
                // What is missing says the same as the fields that are there.
                if extra.count < 8 {
                    extra = []
                    extra.appendBigEndian(UInt64(entry.vmStateSize))
                }
                extra.removeLast(extra.count - 8)
                extra.appendBigEndian(header.size)
            case .tooLong: extra.removeLast(extra.count - Int(SnapshotTable.knownExtraLength))
            }
            table += fixed
            table.storeBigEndian(UInt32(extra.count), at: table.count - 4)  // extra_data_size
            table += extra
            table += try await run.reader.bytes(
                at: start + entry.extraLength, count: Int(entry.idLength + entry.nameLength))
            table += [UInt8](repeating: 0, count: -table.count & 7)
            guard table.count <= Int(Qcow2Limits.snapshotTableLength) else { return nil }
            offset = (start + entry.variableLength + 7) & ~7
        }
        return table
    }
}
