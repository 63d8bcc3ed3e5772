// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// Bringing changes to a file that others rely on, in an order that a crash can cut off anywhere: it leaks at worst.
/// Everything here is called with `changes` held.
extension Qcow2Metadata {
    /// Makes all refcounts durable before anything relies on them: blocks, then the table that leads to them, then the
    /// header that leads to the table.
    func settleRefcounts() async throws(BlockError) {
        try await dropUndropped()
        try await writeRefcountBlocks()
        let (isTableDirty, isHeaderDirty) = state.withLock { ($0.isRefcountTableDirty, $0.isHeaderDirty) }
        if isTableDirty {
            try await file.flush()
            try await writeRefcountTable()
        }
        guard isHeaderDirty else { return }
        if isTableDirty { try await file.flush() }
        try await commit(state.withLock { $0.header })
    }

    /// Makes a header durable, and the image's.
    ///
    /// Where that fails, nobody knows which of the two is on the disk.
    func commit(_ header: HeaderCluster) async throws(BlockError) {
        var header = header
        let bytes = try encode(&header)
        // The tables lie behind the first cluster, so the file holds all of it.
        try await HeaderSectors.replace(with: bytes, in: file)
        state.withLock { state in
            state.header = header
            state.isHeaderDirty = false
        }
    }

    /// The header of the image with other bitmaps.
    ///
    /// - Parameters:
    ///   - bitmaps: `nil` for none.
    ///   - origins: since when they count.
    /// - Throws: `BlockError.layer` where the first cluster has no room for it.
    func header(
        leadingTo bitmaps: BitmapsExtension?, countingSince origins: BitmapOrigins
    ) throws(BlockError) -> HeaderCluster {
        var header = state.withLock { $0.header }
        header.setBitmaps(bitmaps?.encoded())
        header.bitmapOrigins = origins
        _ = try encode(&header)
        return header
    }

    private func encode(_ header: inout HeaderCluster) throws(BlockError) -> [UInt8] {
        do throws(Qcow2Error.Problem) {
            return try header.fitted()
        } catch {
            throw failure(error)
        }
    }
}
