// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
public import BlockIO

/// What an image's header says about other files, read before the image is opened.
public struct Qcow2References: Sendable, Equatable {
    /// As recorded; `nil` for an image that stands alone.
    public let backingFileName: String?
    /// `nil` where the image records none.
    public let backingFormat: String?
    /// As recorded; `nil` for an image without an external data file, or one that does not name it.
    public let dataFileName: String?
    public let hasExternalDataFile: Bool
}

/// An image file whose header has been read and checked.
public struct Qcow2File: Sendable {
    public let references: Qcow2References
    public let virtualSize: UInt64
    /// What the user should know before relying on the image.
    public let warnings: [String]

    /// The image's own path.
    public var path: String { file.name }
    public var compressionType: CompressionType { layout.compressionType }
    /// Where the external data file is; `nil` for an image without one, or one that does not name it.
    public var dataFilePath: String? {
        references.dataFileName.map { ImagePath.resolve($0, relativeTo: path) }
    }

    let file: any StorageDevice
    let header: HeaderCluster
    let layout: ImageLayout

    /// Reads and checks the header.
    ///
    /// - Throws: `BlockError.layer` with a `Qcow2Error`.
    public init(_ file: any StorageDevice) async throws(BlockError) {
        let bytes = try await Self.headerBytes(of: file)
        do throws(Qcow2Error.Problem) {
            let fields = try Qcow2Header(decoding: bytes.span.bytes)
            try ImageLayout.checkClusterBits(fields)
            header = try HeaderCluster(header: fields, decoding: bytes.span.bytes)
            layout = try ImageLayout(
                fields, names: FeatureNameTable(data: header.data(of: HeaderExtension.featureNameTable) ?? []),
                fileLength: file.length)
            try Self.checkNames(in: header)
        } catch {
            throw .layer(Qcow2Error(image: file.name, error))
        }
        self.file = file
        virtualSize = layout.size
        references = Qcow2References(
            backingFileName: header.backingFileName,
            backingFormat: header.data(of: HeaderExtension.backingFormat).map(printable),
            dataFileName: header.data(of: HeaderExtension.externalDataFile).map { String(decoding: $0, as: UTF8.self) },
            hasExternalDataFile: layout.hasExternalDataFile)
        warnings =
            (header.header.incompatibleFeatures.contains(.corrupt)
                ? ["\(file.name): the image is marked corrupt; what is read may be wrong"] : [])
            + (Self.warning(ofStaleBitmapsIn: header, path: file.name).map { [$0] } ?? [])
    }

    /// Refuses names of other files that would have to be changed to be followed, and could then lead to another file.
    private static func checkNames(in header: HeaderCluster) throws(Qcow2Error.Problem) {
        guard header.hasTextualBackingFileName else {
            throw .headerField(
                name: "backing_file_offset", value: header.header.backingFileOffset,
                rule: "the backing file name there is not UTF-8 text: rename the file, then use qemu-img rebase -u")
        }
        guard header.data(of: HeaderExtension.externalDataFile).map(HeaderCluster.isText) ?? true else {
            throw .headerExtension(
                type: HeaderExtension.externalDataFile, rule: "the name of the data file is not UTF-8 text")
        }
    }

    /// The first cluster, or what there is of the largest it could be.
    private static func headerBytes(of file: any StorageDevice) async throws(BlockError) -> [UInt8] {
        let limit = UInt64(1) << UInt64(ClusterGeometry.clusterBitsRange.upperBound)
        // Enough for the fields; then the cluster, whose size they tell.
        var count = min(file.length, UInt64(Qcow2Header.fullLength))
        var bytes = try await read(count, of: file)
        if let fields = try? Qcow2Header(decoding: bytes.span.bytes), (try? ImageLayout.checkClusterBits(fields)) != nil
        {
            count = min(file.length, limit, 1 << UInt64(fields.clusterBits))
            bytes = try await read(count, of: file)
        }
        return bytes
    }

    private static func read(_ count: UInt64, of file: any StorageDevice) async throws(BlockError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Int(count))
        var span = bytes.mutableSpan
        var target = span.mutableBytes
        try await file.read(at: 0, into: &target)
        return bytes
    }

    /// Opens the disk.
    ///
    /// - Parameters:
    ///   - snapshot: name or id of the internal snapshot to read instead of the active state.
    ///   - dataFile: the external data file, for images that have one.
    ///   - backing: the backing file's disk, for images that have one.
    ///   - forWriting: whether the image is going to be changed.
    ///   - compression: how compressed clusters are written; its type must be the image's.
    public func open(
        snapshot: String? = nil, dataFile: (any StorageDevice)? = nil, backing: (any BlockDevice)? = nil,
        forWriting: Bool = false, compression: CompressionSettings? = nil
    ) async throws(BlockError) -> Qcow2Image {
        if forWriting { try checkBitmaps() }
        let (metadata, length) = try await openMetadata(snapshot: snapshot, forWriting: forWriting)
        if forWriting { metadata.state.withLock { $0.header.clearUnkeptFeatures(keepsBitmaps: false) } }
        return Qcow2Image(
            metadata: metadata, length: length, dataFile: dataFile, backing: backing, isWritable: forWriting,
            compression: compression, initialFileLength: file.length)
    }

    /// Reads the tables that lead to everything else.
    ///
    /// - Parameters:
    ///   - forWriting: whether clusters are going to be allocated. Features that are not kept are not cleared yet.
    ///   - growthStep: see `Qcow2Metadata`.
    /// - Returns: the tables, and the length of the disk in bytes.
    func openMetadata(
        snapshot: String? = nil, forWriting: Bool, growthStep: UInt64 = Qcow2Metadata.largeGrowthStep
    ) async throws(BlockError) -> (metadata: Qcow2Metadata, length: UInt64) {
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
            growthStep: growthStep)
        if forWriting { prepareForWriting(state) }
        return (state, length)
    }

    func failure(_ problem: Qcow2Error.Problem) -> BlockError {
        .layer(Qcow2Error(image: file.name, problem))
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

    private func checkWritable() throws(BlockError) {
        let features = header.header.incompatibleFeatures
        if features.contains(.corrupt) {
            throw failure(.notWritable(reason: "it is marked corrupt; repair it first (qemu-img check -r all)"))
        }
        if features.contains(.dirty) {
            throw failure(.notWritable(reason: "it was not closed; repair it first (qemu-img check -r leaks)"))
        }
        // The header is written last: what can't be written then is better known now.
        do throws(Qcow2Error.Problem) {
            _ = try header.encoded()
        } catch {
            throw failure(error)
        }
    }

    /// Refuses an image whose bitmaps would miss the changes. Bitmaps that are not valid any more miss nothing.
    private func checkBitmaps() throws(BlockError) {
        guard header.hasBitmaps else { return }
        throw failure(
            .notWritable(
                reason: "its dirty bitmaps would miss the changes; remove them first (qcowbackup bitmap remove)"))
    }

    /// Refuses refcount blocks that can't be relied on: whoever looks for free clusters would never find an end, or take
    /// clusters that are in use.
    private func checkRefcountBlocks(
        _ refcountTable: [UInt64], tables: [(offset: UInt64, length: UInt64)]
    ) throws(BlockError) {
        let clusterLength = layout.geometry.clusterLength
        let fixed = MetadataClusters(clusterBits: layout.geometry.clusterBits, ranges: tables)
        let blocks = refcountTable.filter { $0 != 0 }.sorted()
        for (index, offset) in blocks.enumerated() {
            do throws(Qcow2Error.Problem) {
                try ImageLayout.checkTable(
                    .refcountBlock, offset: offset, length: clusterLength, clusterLength: clusterLength,
                    fileLength: file.length)
            } catch {
                throw failure(error)
            }
            guard fixed.firstOverlap(offset: offset, length: clusterLength) == nil,
                index == 0 || blocks[index - 1] != offset
            else { throw failure(.overlaps(.refcountBlock, offset: offset)) }
        }
    }

    private func prepareForWriting(_ metadata: Qcow2Metadata) {
        metadata.state.withLock { state in
            state.isHeaderDirty = true
            state.endCluster = file.length.dividedRoundingUp(by: layout.geometry.clusterLength)
        }
    }
}
