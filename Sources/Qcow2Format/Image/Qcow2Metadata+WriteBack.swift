// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// Bringing changed tables to the image file.
extension Qcow2Metadata {
    /// Writes every changed table; called with `changes` held.
    ///
    /// Refcounts go first and the header last, each behind what it leads to.
    func writeBack() async throws(BlockError) {
        try await dropUndropped()
        try await writeRefcountBlocks()
        for offset in state.withLock({ $0.cache.dirtyOffsets() }) {
            try await writePiece(at: offset)
        }
        try await writeRefcountTable()
        if state.withLock({ $0.isL1Dirty }) {
            let (offset, entries) = state.withLock { ($0.header.header.l1TableOffset, $0.l1) }
            try await write(entries, at: offset)
            state.withLock { $0.isL1Dirty = false }
        }
        if state.withLock({ $0.isHeaderDirty }) {
            let header = try encodedHeader()
            try await file.write(at: 0, from: header.span.bytes)
            state.withLock { $0.isHeaderDirty = false }
        }
    }

    /// Writes the changed pieces of refcount blocks, and of nothing else; called with `changes` held.
    func writeRefcountBlocks() async throws(BlockError) {
        let blocks = Set(state.withLock { $0.refcountTable }.filter { $0 != 0 })
        for offset in state.withLock({ $0.cache.dirtyOffsets() })
        where blocks.contains(offset.alignedDown(to: geometry.clusterLength)) {
            try await writePiece(at: offset)
        }
    }

    /// Writes the refcount table if it has changed; called with `changes` held.
    func writeRefcountTable() async throws(BlockError) {
        guard state.withLock({ $0.isRefcountTableDirty }) else { return }
        let (offset, entries) = state.withLock { ($0.header.header.refcountTableOffset, $0.refcountTable) }
        try await write(entries, at: offset)
        state.withLock { $0.isRefcountTableDirty = false }
    }

    private func encodedHeader() throws(BlockError) -> [UInt8] {
        var header = state.withLock { $0.header }
        do throws(Qcow2Error.Problem) {
            return try header.fitted()
        } catch {
            throw failure(error)
        }
    }

    private func writePiece(at offset: UInt64) async throws(BlockError) {
        guard let bytes = cachedPiece(at: offset) else { return }
        try await writeTable(bytes, at: offset)
        state.withLock { $0.cache.markClean(offset) }
    }

    private func write(_ entries: [UInt64], at offset: UInt64) async throws(BlockError) {
        guard !entries.isEmpty else { return }
        var bytes = [UInt8](repeating: 0, count: entries.count * 8)
        for (index, entry) in entries.enumerated() {
            bytes.storeBigEndian(entry, at: index * 8)
        }
        try await writeTable(bytes, at: offset)
    }

    /// Cuts off what the file was given for clusters to come.
    ///
    /// - Parameter length: bytes that the file had when it was opened; it never gets shorter than that.
    func trim(to length: UInt64) async throws(BlockError) {
        let bits = UInt64(geometry.clusterBits)
        let lowest = length.dividedRoundingUp(by: geometry.clusterLength)
        var end = state.withLock { $0.endCluster }
        // Clusters at the end may have been given back.
        while end > lowest, try await refcount(of: end - 1) == 0 { end -= 1 }
        let wanted = max(end << bits, length)
        if file.length > wanted {
            try await file.resize(to: wanted)
        }
    }
}
