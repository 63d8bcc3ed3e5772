// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

extension CheckRun {

    /// File offsets are signed.
    private static let highestOffset = UInt64(Int64.max) - Qcow2Limits.snapshotTableLength

    /// Finds the snapshot table and the tables of all snapshots.
    func gatherSnapshots() async throws(BlockError) {
        let fields = header.header
        func give(up reason: String) {
            hasLostReferences = true
            log.note(
                .snapshot, .unchecked, Qcow2Error.Structure.snapshotTable.rawValue, at: fields.snapshotsOffset, reason)
        }
        guard fields.snapshotCount <= Qcow2Limits.snapshotCount else {
            return give(up: "\(fields.snapshotCount) snapshots are too many: at most \(Qcow2Limits.snapshotCount)")
        }
        // Also where there are none.
        guard fields.snapshotsOffset.isAligned(to: clusterLength) else {
            return give(up: "it is not aligned to a cluster")
        }
        guard fields.snapshotsOffset <= Self.highestOffset else { return give(up: "no file is as long as that") }
        guard fields.snapshotCount > 0 else { return }
        if layout.hasExternalDataFile {
            log.note(
                .snapshot, "image",
                "it has \(fields.snapshotCount) snapshots, and images with an external data file have none")
        }
        var found: [L1Location: UInt64] = [:]
        var order: [L1Location] = []
        var offset = fields.snapshotsOffset
        for number in 1...fields.snapshotCount {
            guard let start = offset.alignedUp(to: 8), let fixedEnd = start.adding(SnapshotEntry.fixedLength) else {
                return give(up: "it has no end")
            }
            let fixed = try await reader.bytes(at: start, count: Int(SnapshotEntry.fixedLength))
            guard let entry = try? SnapshotEntry(decoding: fixed.span.bytes) else {
                return give(up: "entry \(number) is truncated")
            }
            guard let end = fixedEnd.adding(entry.variableLength),
                end - fields.snapshotsOffset <= Qcow2Limits.snapshotTableLength
            else {
                return give(up: "it is longer than \(Qcow2Limits.snapshotTableLength) bytes")
            }
            switch entry.extraDefect(version: layout.version) {
            case .none: break
            case .tooShort: log.note(.snapshot, "snapshot \(number)", at: start, "its entry is incomplete")
            case .tooLong:
                log.note(
                    .snapshot, .unchecked, "snapshot \(number)", at: start,
                    "its entry has \(entry.extraLength) bytes of extra data, which others refuse")
            }
            if entry.extraDefect(version: layout.version) != nil { hasMendableSnapshots = true }
            let l1 = L1Location(offset: entry.l1TableOffset, entryCount: UInt64(entry.l1Size))
            if note(l1, ofSnapshot: number, at: start) {
                if found[l1] == nil { order.append(l1) }
                found[l1, default: 0] += 1
            }
            offset = end
        }
        add(.snapshotTable, offset: fields.snapshotsOffset, length: offset - fields.snapshotsOffset)
        // Tables that lie apart are not longer than the file together.
        var rest = reader.length
        for location in order {
            let length = min(location.entryCount * 8, reader.length - min(location.offset, reader.length))
            guard let less = rest.subtracting(length) else { return give(up: "its L1 tables lie on top of each other") }
            rest = less
            let count = found[location] ?? 1
            add(.snapshotL1Table, offset: location.offset, length: location.entryCount * 8, count: count)
            try await gatherTables(of: location, count: count, isActive: false)
        }
    }

    /// - Returns: whether the snapshot's L1 table can be followed.
    private func note(_ l1: L1Location, ofSnapshot number: UInt32, at offset: UInt64) -> Bool {
        let rule: String
        var severity = CheckProblem.Severity.corruption
        if l1.offset > Self.highestOffset, l1.offset.isAligned(to: clusterLength),
            l1.entryCount * 8 <= Qcow2Limits.l1TableLength
        {
            rule = "its L1 table (offset \(l1.offset)) lies where no file is as long as that"
            severity = .unchecked
        } else if !l1.offset.isAligned(to: clusterLength) {
            rule = "its L1 table (offset \(l1.offset)) is not aligned to a cluster"
        } else if l1.entryCount * 8 > Qcow2Limits.l1TableLength {
            rule = "its L1 table of \(l1.entryCount) entries is too large"
        } else {
            return true
        }
        hasLostReferences = true
        log.note(.snapshot, severity, "snapshot \(number)", at: offset, rule)
        return false
    }
}
