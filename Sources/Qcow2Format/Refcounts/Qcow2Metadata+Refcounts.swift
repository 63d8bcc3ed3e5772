// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// Refcounts of host clusters. Everything here is called with `changes` held.
///
/// Spec: “Host cluster management”.
extension Qcow2Metadata {
    /// Refcounts in a refcount block, which fills one cluster.
    var refcountsPerBlock: UInt64 {
        UInt64(layout.refcounts.capacity(ofBytes: Int(geometry.clusterLength)))
    }

    /// Refcounts in a piece of a refcount block.
    private var refcountsPerPiece: UInt64 {
        UInt64(layout.refcounts.capacity(ofBytes: Int(pieceLength)))
    }

    /// The checked offset of the refcount block that covers a cluster; `nil` where there is none.
    private func refcountBlock(of cluster: UInt64) throws(BlockError) -> HostOffset? {
        let index = cluster / refcountsPerBlock
        let entry = state.withLock { index < UInt64($0.refcountTable.count) ? $0.refcountTable[Int(index)] : 0 }
        guard entry != 0 else { return nil }
        guard entry.isAligned(to: geometry.clusterLength) else {
            throw failure(.notAligned(.refcountBlock, offset: entry))
        }
        return HostOffset(entry)
    }

    /// Offset of the piece that holds a cluster's refcount.
    private func refcountPiece(of cluster: UInt64, in block: HostOffset) -> UInt64 {
        block.bytes + cluster % refcountsPerBlock / refcountsPerPiece * pieceLength
    }

    /// The longest range of clusters from `start` on, of at most `limit`, whose refcounts lie in one piece.
    private func pieceRange(from start: UInt64, to limit: UInt64) -> Range<UInt64> {
        start..<min((start / refcountsPerPiece + 1) * refcountsPerPiece, limit)
    }

    func refcount(of cluster: UInt64) async throws(BlockError) -> UInt64 {
        guard let block = try refcountBlock(of: cluster) else { return 0 }
        let bytes = try await loadPiece(at: refcountPiece(of: cluster, in: block), of: .refcountBlock)
        return layout.refcounts.value(in: bytes, at: Int(cluster % refcountsPerPiece))
    }

    /// Sets the refcounts of clusters that are all free to the same value, and makes refcount blocks for them.
    func setRefcounts(of clusters: Range<UInt64>, to value: UInt64) async throws(BlockError) {
        var next = clusters.lowerBound
        while next < clusters.upperBound {
            let range = pieceRange(from: next, to: clusters.upperBound)
            let block: HostOffset
            if let present = try refcountBlock(of: next) {
                block = present
            } else {
                block = try await makeRefcountBlock(for: next)
            }
            let codec = layout.refcounts
            let base = next / refcountsPerPiece * refcountsPerPiece
            try await modifyPiece(at: refcountPiece(of: next, in: block), of: .refcountBlock) { bytes in
                for cluster in range {
                    codec.store(value, in: &bytes, at: Int(cluster - base))
                }
            }
            next = range.upperBound
        }
    }

    /// Adds a reference to a cluster that is in use.
    func addReference(to cluster: UInt64) async throws(BlockError) {
        let count = try await refcount(of: cluster)
        guard count > 0, count < layout.refcounts.maximum else {
            throw failure(.refcount(cluster: cluster, rule: "is \(count) where a reference is added"))
        }
        try await setRefcounts(of: cluster..<cluster + 1, to: count + 1)
    }

    /// Drops one reference to each cluster that a byte range touches; those without any are free then.
    func release(offset: UInt64, length: UInt64) async throws(BlockError) {
        let first = offset >> UInt64(geometry.clusterBits)
        let last = (offset + length - 1) >> UInt64(geometry.clusterBits)
        for cluster in first...last {
            let count = try await refcount(of: cluster)
            guard count > 0 else {
                throw failure(.refcount(cluster: cluster, rule: "is 0 although the cluster is in use"))
            }
            try await setRefcounts(of: cluster..<cluster + 1, to: count - 1)
            state.withLock { state in
                if count == 1 { state.firstFreeCluster = min(state.firstFreeCluster, cluster) }
                // Room behind compressed data may be gone with it.
                if cluster == state.compressedEnd >> UInt64(geometry.clusterBits) { state.compressedEnd = 0 }
            }
        }
    }

    private func makeRefcountBlock(for cluster: UInt64) async throws(BlockError) -> HostOffset {
        let index = Int(cluster / refcountsPerBlock)
        if index >= state.withLock({ $0.refcountTable.count }) {
            try await growRefcountTable(toHold: index)
            // The new table's own refcounts may have needed the block.
            if let block = try refcountBlock(of: cluster) { return block }
        }
        let place = try await findFree(atMost: 1).lowerBound
        try take(place..<place + 1)
        let block = HostOffset(place << UInt64(geometry.clusterBits))
        try await insertZeroTable(at: block)
        state.withLock { state in
            state.refcountTable[index] = block.bytes
            state.isRefcountTableDirty = true
        }
        // Covered by the block itself, or by another one that is made now.
        try await setRefcounts(of: place..<place + 1, to: 1)
        return block
    }

    /// Moves the refcount table to where it has room for more.
    private func growRefcountTable(toHold index: Int) async throws(BlockError) {
        let entriesPerCluster = geometry.clusterLength / 8
        let (old, end) = state.withLock { ($0.header.header, $0.endCluster) }
        // Half as much again as is needed now, and room for what the new table itself takes.
        let wanted = max(UInt64(index) + 1, end / refcountsPerBlock + 1) * 3 / 2 + 2
        let clusters = wanted.dividedRoundingUp(by: entriesPerCluster)
        guard clusters * geometry.clusterLength <= Qcow2Limits.refcountTableLength else {
            throw failure(
                .tooLarge(
                    what: "the image file",
                    limit: "its refcount table would pass \(Qcow2Limits.refcountTableLength) bytes; use larger clusters"
                ))
        }
        let start = try await findFree(exactly: clusters)
        try take(start..<start + clusters)
        state.withLock { state in
            let missing = Int(clusters * entriesPerCluster) - state.refcountTable.count
            state.refcountTable += [UInt64](repeating: 0, count: missing)
            state.header.header.refcountTableOffset = start << UInt64(geometry.clusterBits)
            state.header.header.refcountTableClusters = UInt32(clusters)
            state.isRefcountTableDirty = true
            state.isHeaderDirty = true
        }
        try await setRefcounts(of: start..<start + clusters, to: 1)
        if old.refcountTableClusters > 0 {
            try await release(
                offset: old.refcountTableOffset, length: UInt64(old.refcountTableClusters) * geometry.clusterLength)
        }
    }
}
