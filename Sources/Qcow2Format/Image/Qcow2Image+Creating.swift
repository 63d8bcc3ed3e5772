// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

extension Qcow2Image {
    /// Lays out a new, empty image.
    ///
    /// Nothing in the file is consistent before `close()`.
    ///
    /// - Parameters:
    ///   - file: empty, or of any content that no longer matters; of fixed length only if it is long enough.
    ///   - dataFile: for options with an external data file; it gets the disk's length.
    ///   - backing: the disk that shows through, for options with a backing file.
    /// - Throws: `BlockError.layer` with a `Qcow2Error` for options that contradict each other.
    package static func create(
        _ options: Qcow2Options, in file: any Storage, dataFile: (any Storage)? = nil,
        backing: (any BlockDevice)? = nil, compression: CompressionSettings? = nil
    ) async throws(BlockError) -> Qcow2Image {
        let header: HeaderCluster
        let layout: ImageLayout
        do throws(Qcow2Error.Problem) {
            header = try options.headerCluster()
            guard (dataFile != nil) == (options.dataFileName != nil) else {
                throw .externalDataFile(isMissing: dataFile == nil)
            }
            layout = ImageLayout(
                version: header.header.version,
                geometry: ClusterGeometry(clusterBits: options.clusterBits, hasSubclusters: options.hasExtendedL2),
                refcounts: RefcountCodec(order: options.refcountOrder), size: options.size,
                compressionType: options.compressionType, hasExternalDataFile: options.dataFileName != nil)
        } catch {
            throw .layer(Qcow2Error(image: file.name, error))
        }
        let initialFileLength = file.length
        let metadata = Qcow2Metadata(
            file: file, layout: layout, header: header, l1: [], refcountTable: [],
            metadata: MetadataClusters(clusterBits: options.clusterBits))
        try await metadata.changes.withLock { () async throws(BlockError) in
            try await metadata.layOut()
        }
        if let dataFile {
            try await dataFile.resize(to: options.size)
        }
        return Qcow2Image(
            metadata: metadata, length: options.size, dataFile: dataFile, backing: backing, isWritable: true,
            compression: compression, initialFileLength: initialFileLength)
    }
}

extension Qcow2Metadata {
    /// Allocates the header cluster, the refcount structures and the L1 table of a new image.
    fileprivate func layOut() async throws(BlockError) {
        // The first allocation is the header's, and makes the refcount table and its first block.
        _ = try await allocate(exactly: 1)
        // A disk of no length has an L1 table too: a cluster that holds none of it would count as leaked.
        let entries = max(geometry.l1EntryCount(forLength: layout.size), 1)
        let clusters = (entries * 8).dividedRoundingUp(by: geometry.clusterLength)
        let first = try await allocate(exactly: clusters)
        state.withLock { state in
            state.l1 = [UInt64](repeating: 0, count: Int(entries))
            state.header.header.l1Size = UInt32(entries)
            state.header.header.l1TableOffset = first << UInt64(geometry.clusterBits)
            state.isL1Dirty = true
            state.isHeaderDirty = true
        }
    }
}

extension Qcow2Image {
    package func flush() async throws(BlockError) {
        guard isWritable else { return }
        // Data first, so that no table on the disk leads to what isn't there.
        try await dataFile?.flush()
        try await file.flush()
        try await metadata.changes.withLock { () async throws(BlockError) in
            try await metadata.writeBack()
        }
        try await file.flush()
    }

    /// Writes the tables and gives back what the file was given for clusters to come. Nothing may be written
    /// afterwards.
    package func close() async throws(BlockError) {
        guard isWritable else { return }
        try await dataFile?.flush()
        try await metadata.changes.withLock { () async throws(BlockError) in
            try await metadata.writeBack()
            try await metadata.trim(to: initialFileLength)
        }
        try await file.flush()
    }
}
