// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// The tables of an open image: L1, L2, refcounts, and which clusters are free.
///
/// Two locks. `changes` is held, across I/O, by whoever changes a table or brings a piece of one into the cache or out
/// of it, so that a piece is never in two states. `state` guards the values themselves for an instant. Reading a mapping
/// that is in the cache takes `state` only.
final class Qcow2Metadata: Sendable {
    struct State {
        var header: HeaderCluster
        var l1: [UInt64]
        var isL1Dirty = false
        var refcountTable: [UInt64]
        var isRefcountTableDirty = false
        var isHeaderDirty = false
        var cache: TableCache
        /// Where the search for free clusters starts.
        var firstFreeCluster: UInt64 = 0
        /// First cluster behind all that are in use or promised. Known from the file's length and from what was allocated,
        /// not from refcounts, which may lead anywhere.
        var endCluster: UInt64 = 0
        /// Clusters of which a reference could not be dropped yet, because the file failed.
        var undropped: [ClosedRange<UInt64>] = []
        /// References that are to be dropped once the file no longer leads to their clusters; `nil` while references are
        /// dropped at once.
        var held: [ClosedRange<UInt64>]?
        /// First byte behind the compressed data written last, in a cluster that has room for more; 0 for none.
        var compressedEnd: UInt64 = 0
        /// Refcount of the cluster that `compressedEnd` lies in.
        var compressedRefcount: UInt64 = 0
    }

    private static let maximumPieceLength = 64 << 10
    private static let pieceCounts = 4...1024
    /// For images that get much data.
    static let largeGrowthStep: UInt64 = 64 << 20

    let file: any Storage
    let layout: ImageLayout
    let decoder: L2Decoder
    let changes = AsyncMutex()
    let state: Locked<State>
    /// Bytes of a table that are read and written together.
    let pieceLength: UInt64
    /// The file grows in steps of this many bytes, because writes inside a file's length pass each other where writes
    /// that extend it queue. What is left over is cut off at the end.
    let growthStep: UInt64

    var geometry: ClusterGeometry { layout.geometry }

    init(
        file: any Storage, layout: ImageLayout, header: HeaderCluster, l1: [UInt64], refcountTable: [UInt64],
        metadata: MetadataClusters, cacheLength: Int = Qcow2Image.defaultCacheLength,
        growthStep: UInt64 = largeGrowthStep
    ) {
        self.file = file
        self.growthStep = growthStep
        self.layout = layout
        decoder = L2Decoder(rules: L2EntryRules(layout), metadata: metadata)
        pieceLength = min(layout.geometry.clusterLength, UInt64(Self.maximumPieceLength))
        let pieces = min(max(cacheLength / Int(pieceLength), Self.pieceCounts.lowerBound), Self.pieceCounts.upperBound)
        state = Locked(
            State(header: header, l1: l1, refcountTable: refcountTable, cache: TableCache(capacity: pieces)))
    }

    /// The error of a check that failed.
    func failure(_ problem: Qcow2Error.Problem) -> BlockError {
        .layer(Qcow2Error(image: file.name, problem))
    }

    // MARK: The cache. Everything below but `cachedPiece` is called with `changes` held.

    /// The piece of a table that holds a byte of the file, and the byte's place in it.
    func piece(of position: UInt64) -> (offset: UInt64, index: Int) {
        let offset = position.alignedDown(to: pieceLength)
        return (offset, Int(position - offset))
    }

    func cachedPiece(at offset: UInt64) -> [UInt8]? {
        state.withLock { $0.cache.bytes(at: offset) }
    }

    /// Brings a piece into the cache.
    func loadPiece(at offset: UInt64, of structure: Qcow2Error.Structure) async throws(BlockError) -> [UInt8] {
        if let bytes = cachedPiece(at: offset) { return bytes }
        // In the file's last cluster, what the file doesn't have is zeroes.
        guard offset.alignedDown(to: geometry.clusterLength) < file.length else {
            throw failure(.pastEnd(structure, offset: offset, fileLength: file.length))
        }
        let bytes = try await file.paddedContents(at: offset, count: Int(pieceLength))
        try await insertPiece(bytes, at: offset, isDirty: false)
        return bytes
    }

    /// Puts a new table, all zeroes, into the cache.
    func insertZeroTable(at offset: HostOffset) async throws(BlockError) {
        let zeroes = [UInt8](repeating: 0, count: Int(pieceLength))
        for start in stride(from: offset.bytes, to: offset.bytes + geometry.clusterLength, by: Int(pieceLength)) {
            try await insertPiece(zeroes, at: start, isDirty: true)
        }
    }

    func insertPiece(_ bytes: [UInt8], at offset: UInt64, isDirty: Bool) async throws(BlockError) {
        while let victim = state.withLock({ $0.cache.victim() }) {
            if victim.isDirty {
                try await writeTable(victim.bytes, at: victim.offset)
            }
            state.withLock { $0.cache.remove(victim.offset) }
        }
        state.withLock { $0.cache.insert(bytes, at: offset, isDirty: isDirty) }
    }

    /// Writes a piece of a table, or all of it. The file may end inside its last cluster, and then gets the rest of it.
    func writeTable(_ bytes: [UInt8], at offset: UInt64) async throws(BlockError) {
        let end = offset + UInt64(bytes.count)
        if end > file.length { try await file.resize(to: end.alignedUp(to: geometry.clusterLength) ?? end) }
        try await file.write(at: offset, from: bytes.span.bytes)
    }

    /// Changes a piece, which is loaded first if it has to be.
    func modifyPiece(
        at offset: UInt64, of structure: Qcow2Error.Structure, _ body: (inout [UInt8]) -> Void
    ) async throws(BlockError) {
        if !state.withLock({ $0.cache.contains(offset) }) {
            _ = try await loadPiece(at: offset, of: structure)
        }
        state.withLock { $0.cache.modify(offset, body) }
    }
}
