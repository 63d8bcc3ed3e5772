// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

extension ImageRepair {
    /// Mends or drops the entries that break the format or lead nowhere.
    ///
    /// - Returns: whether something was changed.
    func mendEntries(of run: CheckRun) async throws(BlockError) -> Bool {
        let broken = run.log.count(
            of: .l1ReservedBits, .l2TableUnaligned, .tablePastEnd, .l2ReservedBits, .zeroFlag, .clusterUnaligned,
            .clusterMisplaced, .clusterPastEnd, .compressed, .subclusters, .overlap)
        guard broken > 0 else { return false }
        // Before the file gets the rest of its last cluster: afterwards nothing shows what was cut off.
        var hasChanged = try await mendEntries(of: run, first: run)
        if try await completeLastCluster(of: run) {
            hasChanged = true
            _ = try await mendEntries(of: try await freshRun(run), first: run)
        }
        return hasChanged
    }

    /// - Parameters:
    ///   - run: of the file as it is.
    ///   - first: of the file before it got the rest of its last cluster.
    private func mendEntries(of run: CheckRun, first: CheckRun) async throws(BlockError) -> Bool {
        let mender = EntryMender(run, first: first)
        let metadata = try await TakenClusters(run)
        let words = run.geometry.l2EntryWords
        var told: Set<String> = []
        func tell(_ text: String) {
            if told.insert(text).inserted { announce(text) }
        }
        var changes = 0
        for table in run.l1Tables where !run.contestedL1Tables.contains(table.offset) {
            changes += try await changeTable(at: table.offset, length: table.entryCount * 8, of: run) { bytes, index in
                let entry = L1Entry(rawValue: bytes[index])
                let mended = mender.mended(entry, isTaken: metadata.isNoTable)
                if mended.rawValue == 0 { tell("L2 tables that can't be there are let go of") }
                if mended.rawValue != 0, mended != entry { tell("reserved bits in L1 tables are cleared") }
                bytes[index] = mended.rawValue
            }
        }
        for use in run.tables
        where use.offset.isAligned(to: run.clusterLength) && !run.fixedClusters.contains(use.offset >> run.clusterBits)
        {
            // What may as well be data is not changed.
            let isChanged = !use.isContested || metadata.soundTables.contains(use.offset)
            let guestStart = run.guestOffset(ofTable: use)
            changes += try await changeTable(at: use.offset, length: run.clusterLength, of: run, words: words) {
                bytes, index in
                guard index % words == 0 else { return }
                let entry = L2Entry(rawValue: bytes[index])
                let bitmap = SubclusterBitmap(rawValue: words == 2 ? bytes[index + 1] : 0)
                let (mended, mendedBitmap): (L2Entry, SubclusterBitmap)
                if !entry.isCompressed, entry.hostOffset.bytes == use.offset, !run.layout.hasExternalDataFile {
                    // No cluster is its own table.
                    (mended, mendedBitmap) = mender.zero(bitmap)
                } else if isChanged {
                    let guest = guestStart &+ UInt64(index / words) << run.clusterBits
                    (mended, mendedBitmap) = mender.mended(entry, bitmap, at: guest) {
                        metadata.isNoData(offset: $0, length: $1, of: use)
                    }
                } else {
                    return
                }
                guard mended != entry || mendedBitmap != bitmap else { return }
                let isDropped = entry.hostOffset.bytes != 0 && (mended == .zero || mended == .unallocated)
                tell(
                    isDropped
                        ? "L2 entries that lead nowhere, or into metadata, are dropped: those clusters read as zeroes"
                        : "L2 entries that break the format are mended")
                bytes[index] = mended.rawValue
                if words == 2 { bytes[index + 1] = mendedBitmap.rawValue }
            }
        }
        if changes > 0 { try await file.flush() }
        return changes > 0
    }

    /// Gives a file that ends inside a cluster the zeroes that it is read with, so that tables there are whole.
    ///
    /// - Returns: whether the file has changed. Storage of fixed length is left as it is.
    private func completeLastCluster(of run: CheckRun) async throws(BlockError) -> Bool {
        // Zeroes for a part of an L1 table would make a disk of zeroes.
        guard !run.isL1TableCut, let end = file.length.alignedUp(to: run.clusterLength), end > file.length else {
            return false
        }
        do {
            try await file.resize(to: end)
        } catch {
            guard case .unsupported = error else { throw error }
            return false
        }
        try await file.flush()
        return true
    }

    /// Sets the copied flags of the active tables to what the refcounts say.
    ///
    /// - Parameter clears: whether flags that should not be there go.
    func setCopiedFlags(_ run: CheckRun, clears: Bool = true) async throws(BlockError) {
        // L1 entries have it in the same place.
        let flag = L2Entry.copiedFlag
        // What is left of a word.
        let mask = clears ? ~flag : .max
        let bits = run.clusterBits
        let words = run.geometry.l2EntryWords
        let layout = run.layout
        if let active = run.l1Tables.first, !run.contestedL1Tables.contains(active.offset) {
            var refcounts: [UInt64: Bool] = [:]
            for use in run.tables where use.activeCount > 0 {
                refcounts[use.offset] = try await run.refcount(of: use.offset >> bits) == 1
            }
            _ = try await changeTable(at: active.offset, length: active.entryCount * 8, of: run) { bytes, index in
                let entry = L1Entry(rawValue: bytes[index])
                guard let offset = entry.l2TableOffset, let isOne = refcounts[offset.bytes] else { return }
                bytes[index] = bytes[index] & mask | (isOne ? flag : 0)
            }
        }
        try await run.forEachWindow { (run: CheckRun, window: inout ReferenceWindow) async throws(BlockError) in
            for use in run.tables
            where use.activeCount > 0 && !use.isContested && use.offset.isAligned(to: run.clusterLength) {
                let ones = window
                _ = try await self.changeTable(at: use.offset, length: run.clusterLength, of: run, words: words) {
                    bytes, index in
                    guard index % words == 0 else { return }
                    let entry = L2Entry(rawValue: bytes[index])
                    guard !entry.isCompressed else { return }
                    let offset = entry.hostOffset.bytes
                    if layout.hasExternalDataFile {
                        if offset != 0 { bytes[index] |= flag }
                        return
                    }
                    guard offset != 0, ones.clusters.contains(offset >> bits) else { return }
                    let isOne = ones.isOne(Int((offset >> bits) - ones.first))
                    bytes[index] = bytes[index] & mask | (isOne ? flag : 0)
                }
            }
        }
        try await file.flush()
    }

    /// Bytes that are read together.
    private static let pieceLength: UInt64 = 2 << 20

    /// Changes words of a table, and writes the sectors that differ.
    ///
    /// - Parameters:
    ///   - words: those of an entry, 1 or 2: no entry is changed in part.
    ///   - body: called with words and the index of one of them that is not zero, or whose neighbour isn't.
    /// - Returns: how many sectors were written.
    private func changeTable(
        at offset: UInt64, length: UInt64, of run: CheckRun, words: Int = 1, _ body: (inout [UInt64], Int) -> Void
    ) async throws(BlockError) -> Int {
        // Whatever leads there, the header is no table.
        guard offset >= run.clusterLength else { return 0 }
        // A table may be cut off by the end of the file: entries that aren't there as a whole are not written.
        let stored = min(offset.adding(length) ?? .max, max(run.reader.length, offset)) - offset
        let end = offset + stored / UInt64(words * 8) * UInt64(words * 8)
        var written = 0
        var position = offset
        while position < end {
            let count = Int(min(Self.pieceLength, end - position) / 8)
            let old = try await run.reader.words(at: position, count: count)
            var new = old
            for index in old.indices where old[index] != 0 || index & 1 == 0 && index + 1 < count && old[index + 1] != 0
            {
                body(&new, index)
            }
            written += try await writeChanges(from: old, to: new, at: position)
            position += UInt64(count * 8)
        }
        return written
    }

    private func writeChanges(
        from old: [UInt64], to new: [UInt64], at offset: UInt64
    ) async throws(BlockError) -> Int {
        let perSector = HeaderSectors.sectorLength / 8
        var written = 0
        for start in stride(from: 0, to: old.count, by: perSector) {
            let end = min(start + perSector, old.count)
            guard old[start..<end] != new[start..<end] else { continue }
            var bytes: [UInt8] = []
            for word in new[start..<end] { bytes.appendBigEndian(word) }
            try await file.write(at: offset + UInt64(start * 8), from: bytes.span.bytes)
            written += 1
        }
        return written
    }
}
