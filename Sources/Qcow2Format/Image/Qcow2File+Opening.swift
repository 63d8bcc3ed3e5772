// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

extension Qcow2File {
    /// Opens the disk.
    ///
    /// - Parameters:
    ///   - snapshot: name or id of the internal snapshot to read instead of the active state.
    ///   - dataFile: the external data file, for images that have one.
    ///   - backing: the backing file's disk, for images that have one.
    ///   - forWriting: whether the image is going to be changed.
    ///   - looksForHoles: whether to ask the file for holes under data clusters: see `seemsPreallocated`.
    ///   - identity: for writing, which backup the image is going to be; `nil` for none.
    ///   - compression: how compressed clusters are written; its type must be the image's.
    ///   - cacheLength: bytes of tables to keep in memory at most; a few pieces are kept in any case.
    package func open(
        snapshot: String? = nil, dataFile: (any Storage)? = nil, backing: (any BlockDevice)? = nil,
        forWriting: Bool = false, looksForHoles: Bool = false, identity: BackupIdentity? = nil,
        compression: CompressionSettings? = nil, cacheLength: Int = Qcow2Image.defaultCacheLength
    ) async throws(BlockError) -> Qcow2Image {
        // Data clusters would be looked for in the wrong file.
        guard (dataFile != nil) == layout.hasExternalDataFile else {
            throw failure(.externalDataFile(isMissing: dataFile == nil))
        }
        if forWriting { try checkBitmaps() }
        let (metadata, length) = try await openMetadata(
            snapshot: snapshot, forWriting: forWriting, cacheLength: cacheLength)
        if forWriting {
            metadata.state.withLock { state in
                state.header.clearUnkeptFeatures(keepsBitmaps: false)
                if state.header.identity != identity {
                    state.header.identity = identity
                    state.isHeaderDirty = true
                }
            }
        }
        return Qcow2Image(
            metadata: metadata, length: length, dataFile: dataFile, backing: backing, isWritable: forWriting,
            looksForHoles: looksForHoles, compression: compression, initialFileLength: file.length)
    }

    /// Reads the tables that lead to everything else.
    ///
    /// - Parameters:
    ///   - forWriting: whether clusters are going to be allocated. Features that are not kept are not cleared yet.
    ///   - checksReferences: whether all clusters of the disk are checked before that, which takes time.
    ///   - growthStep: see `Qcow2Metadata`.
    /// - Returns: the tables, and the length of the disk in bytes.
    func openMetadata(
        snapshot: String? = nil, forWriting: Bool, checksReferences: Bool = true,
        cacheLength: Int = Qcow2Image.defaultCacheLength, growthStep: UInt64 = Qcow2Metadata.largeGrowthStep
    ) async throws(BlockError) -> (metadata: Qcow2Metadata, length: UInt64) {
        try checkReadable()
        if forWriting { try checkWritable() }
        if forWriting, snapshot != nil { throw failure(.notWritable(reason: "snapshots can only be read")) }
        let (snapshots, snapshotsLength) = try await snapshotTable(
            isWanted: snapshot != nil || forWriting, withNames: snapshot != nil)
        var l1Offset = header.header.l1TableOffset
        var l1Count = UInt64(header.header.l1Size)
        var length = layout.size
        if let snapshot {
            let chosen = try find(snapshot, in: snapshots)
            l1Offset = chosen.l1TableOffset
            l1Count = UInt64(chosen.l1Size)
            length = chosen.diskSize
        }
        // A snapshot's table may be shorter than its disk: the rest of it is unallocated.
        let l1 = try await table(
            at: l1Offset, count: l1Count, padded: max(l1Count, layout.geometry.l1EntryCount(forLength: length)))
        let refcountTable = try await readRefcountTable(forWriting: forWriting)
        var tables: [(offset: UInt64, length: UInt64)] = [
            (0, layout.geometry.clusterLength), (l1Offset, l1Count * 8),
            (header.header.snapshotsOffset, snapshotsLength),
        ]
        tables += snapshots.map { ($0.l1TableOffset, UInt64($0.l1Size) * 8) }
        let refcountRange = (offset: header.header.refcountTableOffset, length: UInt64(refcountTable.count) * 8)
        let metadata: MetadataClusters
        if forWriting {
            tables.append(refcountRange)
            try checkRefcountBlocks(refcountTable, tables: tables)
            metadata = try metadataClusters(tables, l1: l1, blocks: refcountTable.filter { $0 != 0 }, forWriting: true)
        } else {
            // Refcounts don't matter for reading. Structures that can't be right are left for whoever checks or writes,
            // lest data look wrong because of them.
            let blocks = soundRefcountBlocks(of: refcountTable)
            if blocks != nil { tables.append(refcountRange) }
            metadata = try metadataClusters(tables, l1: l1, blocks: blocks ?? [], forWriting: false)
        }
        let state = Qcow2Metadata(
            file: file, layout: layout, header: header, l1: l1, refcountTable: refcountTable, metadata: metadata,
            cacheLength: cacheLength, growthStep: growthStep)
        if forWriting {
            prepareForWriting(state)
            if checksReferences {
                try await state.changes.withLock { () async throws(BlockError) in try await state.checkReferences() }
            }
        }
        return (state, length)
    }

    /// Refuses what can only be inspected.
    private func checkReadable() throws(BlockError) {
        do throws(Qcow2Error.Problem) {
            _ = try ImageLayout(header.header, names: FeatureNameTable(data: []), fileLength: file.length)
        } catch {
            throw failure(error)
        }
    }

    /// - Parameter padded: number of entries to return; those behind the table are 0.
    private func table(at offset: UInt64, count: UInt64, padded: UInt64) async throws(BlockError) -> [UInt64] {
        // Counts and ends have been checked against the caps and the file.
        var entries = [UInt64](repeating: 0, count: Int(padded))
        guard count > 0 else { return entries }
        var span = entries.mutableSpan
        var all = span.mutableBytes
        var bytes = all.slice(0..<Int(count) * 8)
        try await file.readPadded(at: offset, into: &bytes)
        for index in 0..<Int(count) { entries[index] = UInt64(bigEndian: entries[index]) }
        return entries
    }

    /// - Returns: no entries where the table is broken and nothing is written.
    private func readRefcountTable(forWriting: Bool) async throws(BlockError) -> [UInt64] {
        if let problem = refcountTableProblem {
            if forWriting {
                throw failure(.notWritable(reason: "\(problem); repair it first (qcowbackup check -r all)"))
            }
            return []
        }
        let count = UInt64(header.header.refcountTableClusters) * layout.geometry.clusterLength / 8
        return try await table(at: header.header.refcountTableOffset, count: count, padded: count)
    }

    /// What is wrong with where the refcount table is; `nil` for nothing.
    var refcountTableProblem: Qcow2Error.Problem? {
        do throws(Qcow2Error.Problem) {
            try ImageLayout.checkRefcountTable(
                header.header, clusterLength: layout.geometry.clusterLength, fileLength: file.length)
            return nil
        } catch {
            return error
        }
    }

    private func snapshotTable(
        isWanted: Bool, withNames: Bool
    ) async throws(BlockError) -> (snapshots: [Snapshot], length: UInt64) {
        do throws(BlockError) {
            let (snapshots, length) = try await SnapshotTable.read(
                header.header, from: file, currentSize: layout.size, withNames: withNames)
            for (index, snapshot) in snapshots.enumerated() { try checkSnapshot(snapshot, number: index + 1) }
            return (snapshots, length)
        } catch {
            // A broken snapshot table is no reason not to save the active state.
            if isWanted { throw error }
            return ([], 0)
        }
    }

    private func find(_ name: String, in snapshots: [Snapshot]) throws(BlockError) -> Snapshot {
        guard
            let snapshot = snapshots.first(where: { $0.idBytes.elementsEqual(name.utf8) })
                ?? snapshots.first(where: { $0.nameBytes.elementsEqual(name.utf8) })
                // Names that are no text can be asked for as they are listed.
                ?? snapshots.first(where: { $0.name == name })
        else { throw failure(.snapshotNotFound(name, available: snapshots.prefix(Self.listedNames).map(\.name))) }
        return snapshot
    }

    /// Snapshots that are listed where another one was asked for.
    private static let listedNames = 32

    private func checkSnapshot(_ snapshot: Snapshot, number: Int) throws(BlockError) {
        do throws(Qcow2Error.Problem) {
            let length = UInt64(snapshot.l1Size) * 8
            guard length <= Qcow2Limits.l1TableLength else {
                throw .snapshotTable(rule: "the L1 table of snapshot \(number) is too large")
            }
            guard snapshot.diskSize <= Qcow2Limits.virtualSize,
                layout.geometry.l1EntryCount(forLength: snapshot.diskSize) <= Qcow2Limits.l1TableLength / 8
            else { throw .snapshotTable(rule: "the disk of snapshot \(number) is too large") }
            try ImageLayout.checkTable(
                .snapshotL1Table, offset: snapshot.l1TableOffset, length: length,
                clusterLength: layout.geometry.clusterLength, fileLength: file.length)
        } catch {
            throw failure(error)
        }
    }

    /// Collects where metadata lies, and refuses tables that lie on top of each other.
    ///
    /// Several L1 entries may lead to the same L2 table as long as it is only read.
    private func metadataClusters(
        _ tables: [(offset: UInt64, length: UInt64)], l1: [UInt64], blocks: [UInt64], forWriting: Bool
    ) throws(BlockError) -> MetadataClusters {
        let geometry = layout.geometry
        let fixed = MetadataClusters(clusterBits: geometry.clusterBits, ranges: tables)
        var l2Tables: [UInt64] = []
        for (index, value) in l1.enumerated() where value != 0 {
            let entry = L1Entry(rawValue: value)
            guard !entry.hasReservedBits else { throw failure(.l1ReservedBits(index: index, entry: value)) }
            guard let offset = entry.l2TableOffset?.bytes else { continue }
            do throws(Qcow2Error.Problem) {
                try ImageLayout.checkTable(
                    .l2Table, offset: offset, length: geometry.clusterLength, clusterLength: geometry.clusterLength,
                    fileLength: file.length, mayBeCut: true)
            } catch {
                throw failure(error)
            }
            guard fixed.firstOverlap(offset: offset, length: geometry.clusterLength) == nil else {
                throw failure(.overlaps(.l2Table, offset: offset))
            }
            l2Tables.append(offset)
        }
        l2Tables.sort()
        if forWriting, let pair = zip(l2Tables, l2Tables.dropFirst()).first(where: { $0 == $1 }) {
            throw failure(.overlaps(.l2Table, offset: pair.0))
        }
        let blockClusters = MetadataClusters(
            clusterBits: geometry.clusterBits, ranges: blocks.map { ($0, geometry.clusterLength) })
        if let table = l2Tables.first(where: {
            blockClusters.firstOverlap(offset: $0, length: geometry.clusterLength) != nil
        }) {
            throw failure(.overlaps(.l2Table, offset: table))
        }
        let clusters = (l2Tables + blocks).map { (offset: $0, length: geometry.clusterLength) }
        return MetadataClusters(clusterBits: geometry.clusterBits, ranges: tables + clusters)
    }

    /// The blocks of a refcount table; `nil` where any of them can't be one.
    private func soundRefcountBlocks(of table: [UInt64]) -> [UInt64]? {
        let blocks = table.filter { $0 != 0 }
        let areSound = blocks.allSatisfy { $0.isAligned(to: layout.geometry.clusterLength) && $0 < file.length }
        return areSound ? blocks : nil
    }

    private func prepareForWriting(_ metadata: Qcow2Metadata) {
        metadata.state.withLock { state in
            state.isHeaderDirty = true
            state.endCluster = file.length.dividedRoundingUp(by: layout.geometry.clusterLength)
        }
    }
}
