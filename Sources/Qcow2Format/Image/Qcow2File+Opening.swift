// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
public import BlockIO

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
    public func open(
        snapshot: String? = nil, dataFile: (any StorageDevice)? = nil, backing: (any BlockDevice)? = nil,
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
        let (snapshots, snapshotsLength) = try await snapshotTable(isWanted: snapshot != nil || forWriting)
        var l1Offset = header.header.l1TableOffset
        var l1Count = UInt64(header.header.l1Size)
        var length = layout.size
        if let snapshot {
            let chosen = try find(snapshot, in: snapshots)
            l1Offset = chosen.l1TableOffset
            l1Count = UInt64(chosen.l1Size)
            length = chosen.diskSize
            try checkSnapshot(chosen)
        }
        let l1 = try await table(at: l1Offset, count: l1Count)
        let refcountTable = try await table(
            at: header.header.refcountTableOffset,
            count: UInt64(header.header.refcountTableClusters) * layout.geometry.clusterLength / 8)
        var tables: [(offset: UInt64, length: UInt64)] = [
            (0, layout.geometry.clusterLength), (l1Offset, l1Count * 8),
            (header.header.refcountTableOffset, UInt64(refcountTable.count) * 8),
            (header.header.snapshotsOffset, snapshotsLength),
        ]
        tables += snapshots.map { ($0.l1TableOffset, UInt64($0.l1Size) * 8) }
        let metadata = try metadataClusters(tables, l1: l1, refcountTable: refcountTable)
        if forWriting { try checkRefcountBlocks(refcountTable, tables: tables) }
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

    private func table(at offset: UInt64, count: UInt64) async throws(BlockError) -> [UInt64] {
        // Counts and ends have been checked against the caps and the file.
        var entries = [UInt64](repeating: 0, count: Int(count))
        guard count > 0 else { return entries }
        var span = entries.mutableSpan
        var bytes = span.mutableBytes
        try await file.read(at: offset, into: &bytes)
        for index in entries.indices { entries[index] = UInt64(bigEndian: entries[index]) }
        return entries
    }

    private func snapshotTable(isWanted: Bool) async throws(BlockError) -> (snapshots: [Snapshot], length: UInt64) {
        do throws(BlockError) {
            let (snapshots, length) = try await SnapshotTable.read(header.header, from: file, currentSize: layout.size)
            for snapshot in snapshots { try checkSnapshot(snapshot) }
            return (snapshots, length)
        } catch {
            // A broken snapshot table is no reason not to save the active state.
            if isWanted { throw error }
            return ([], 0)
        }
    }

    private func find(_ name: String, in snapshots: [Snapshot]) throws(BlockError) -> Snapshot {
        guard let snapshot = snapshots.first(where: { $0.id == name }) ?? snapshots.first(where: { $0.name == name })
        else { throw failure(.snapshotNotFound(name, available: snapshots.map(\.name))) }
        return snapshot
    }

    private func checkSnapshot(_ snapshot: Snapshot) throws(BlockError) {
        do throws(Qcow2Error.Problem) {
            let length = UInt64(snapshot.l1Size) * 8
            guard length <= Qcow2Limits.l1TableLength else {
                throw .snapshotTable(rule: "the L1 table of '\(snapshot.name)' is too large")
            }
            guard snapshot.diskSize <= Qcow2Limits.virtualSize,
                UInt64(snapshot.l1Size) >= layout.geometry.l1EntryCount(forLength: snapshot.diskSize)
            else { throw .snapshotTable(rule: "the L1 table of '\(snapshot.name)' is too small for its disk") }
            try ImageLayout.checkTable(
                .snapshotL1Table, offset: snapshot.l1TableOffset, length: length,
                clusterLength: layout.geometry.clusterLength, fileLength: file.length)
        } catch {
            throw failure(error)
        }
    }

    /// Collects where metadata lies, and refuses tables that lie on top of each other.
    private func metadataClusters(
        _ tables: [(offset: UInt64, length: UInt64)], l1: [UInt64], refcountTable: [UInt64]
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
                    fileLength: file.length)
            } catch {
                throw failure(error)
            }
            guard fixed.firstOverlap(offset: offset, length: geometry.clusterLength) == nil else {
                throw failure(.overlaps(.l2Table, offset: offset))
            }
            l2Tables.append(offset)
        }
        l2Tables.sort()
        if let pair = zip(l2Tables, l2Tables.dropFirst()).first(where: { $0 == $1 }) {
            throw failure(.overlaps(.l2Table, offset: pair.0))
        }
        // Refcounts don't matter for reading, so blocks in impossible places are left for whoever checks or writes.
        let blocks = refcountTable.filter {
            $0 != 0 && $0.isAligned(to: geometry.clusterLength) && $0 < Qcow2Limits.hostOffset
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

    private func prepareForWriting(_ metadata: Qcow2Metadata) {
        metadata.state.withLock { state in
            state.isHeaderDirty = true
            state.endCluster = file.length.dividedRoundingUp(by: layout.geometry.clusterLength)
        }
    }
}
