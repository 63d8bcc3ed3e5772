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
    var refcountsPerPiece: UInt64 {
        UInt64(layout.refcounts.capacity(ofBytes: Int(pieceLength)))
    }

    /// The checked offset of the refcount block that covers a cluster; `nil` where there is none.
    func refcountBlock(of cluster: UInt64) throws(BlockError) -> HostOffset? {
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

    /// The longest range of clusters from `start` on, up to `limit`, whose refcounts lie in one piece.
    func pieceRange(from start: UInt64, to limit: UInt64) -> Range<UInt64> {
        start..<min((start / refcountsPerPiece + 1) * refcountsPerPiece, limit)
    }

    /// The piece that holds a cluster's refcount; `nil` where there is none, and all its refcounts are 0.
    func refcounts(around cluster: UInt64) async throws(BlockError) -> [UInt8]? {
        guard let block = try refcountBlock(of: cluster) else { return nil }
        return try await loadPiece(at: refcountPiece(of: cluster, in: block), of: .refcountBlock)
    }

    func refcount(of cluster: UInt64) async throws(BlockError) -> UInt64 {
        guard let bytes = try await refcounts(around: cluster) else { return 0 }
        return layout.refcounts.value(in: bytes, at: Int(cluster % refcountsPerPiece))
    }

    /// The first cluster from `start` on that is free.
    func firstFree(from start: UInt64) async throws(BlockError) -> UInt64 {
        // Behind the last refcount block, everything is free.
        var next = start
        while true {
            let range = pieceRange(from: next, to: .max)
            let bytes = try await refcounts(around: next)
            if let found = range.first(where: { isFree($0, by: bytes) }) { return found }
            next = range.upperBound
        }
    }

    /// The first cluster of a range that is in use; `nil` where all are free.
    func firstUsed(in clusters: Range<UInt64>) async throws(BlockError) -> UInt64? {
        var next = clusters.lowerBound
        while next < clusters.upperBound {
            let range = pieceRange(from: next, to: clusters.upperBound)
            let bytes = try await refcounts(around: next)
            if let found = range.first(where: { !isFree($0, by: bytes) }) { return found }
            next = range.upperBound
        }
        return nil
    }

    /// - Parameter bytes: the piece that holds the cluster's refcount.
    private func isFree(_ cluster: UInt64, by bytes: [UInt8]?) -> Bool {
        if let bytes, layout.refcounts.value(in: bytes, at: Int(cluster % refcountsPerPiece)) != 0 { return false }
        // What held metadata when the image was opened is not used again as long as the image is open, so that an entry
        // that leads there stays recognisable as corrupt.
        return decoder.metadata.firstOverlap(offset: cluster << UInt64(geometry.clusterBits), length: 1) == nil
    }

    /// Sets the refcounts of clusters that are all free to 1; of none of them where that fails.
    func occupy(_ clusters: Range<UInt64>) async throws(BlockError) {
        var next = clusters.lowerBound
        do throws(BlockError) {
            while next < clusters.upperBound {
                let range = pieceRange(from: next, to: clusters.upperBound)
                try await setRefcounts(of: range, to: 1)
                next = range.upperBound
            }
        } catch {
            state.withLock { $0.firstFreeCluster = min($0.firstFreeCluster, clusters.lowerBound) }
            if next > clusters.lowerBound {
                let bits = UInt64(geometry.clusterBits)
                try await release(offset: clusters.lowerBound << bits, length: (next - clusters.lowerBound) << bits)
            }
            throw error
        }
    }

    func setRefcount(of cluster: UInt64, to value: UInt64) async throws(BlockError) {
        try await setRefcounts(of: cluster..<cluster + 1, to: value)
    }

    /// Sets refcounts that lie in one piece, and makes a refcount block for them where there is none.
    private func setRefcounts(of clusters: Range<UInt64>, to value: UInt64) async throws(BlockError) {
        let block: HostOffset
        if let present = try refcountBlock(of: clusters.lowerBound) {
            block = present
        } else {
            block = try await makeRefcountBlock(for: clusters.lowerBound)
        }
        let codec = layout.refcounts
        let first = Int(clusters.lowerBound % refcountsPerPiece)
        try await modifyPiece(at: refcountPiece(of: clusters.lowerBound, in: block), of: .refcountBlock) { bytes in
            for index in first..<first + clusters.count {
                codec.store(value, in: &bytes, at: index)
            }
        }
    }

    /// Drops one reference to each cluster that a byte range touches; those without any are free then.
    ///
    /// Where the file fails, that is made up for when the tables are written: whoever lets go of a cluster has done
    /// what it wanted to do.
    ///
    /// - Throws: `BlockError.layer` where a refcount contradicts the use.
    func release(offset: UInt64, length: UInt64) async throws(BlockError) {
        let clusters =
            offset >> UInt64(geometry.clusterBits)...(offset + length - 1) >> UInt64(geometry.clusterBits)
        let isHeld = state.withLock { state in
            state.held?.append(clusters)
            return state.held != nil
        }
        if !isHeld { try await drop(clusters) { _ in } }
    }

    /// Keeps clusters in use from now on although they are let go of, so that none is free, or used anew, while the file
    /// still leads to it.
    func holdReleases() {
        state.withLock { if $0.held == nil { $0.held = [] } }
    }

    /// Drops the references that were held. The file must no longer lead to their clusters.
    func dropHeld() async throws(BlockError) {
        let held = state.withLock { state in
            defer { state.held = nil }
            return state.held ?? []
        }
        for clusters in held { try await drop(clusters) { _ in } }
    }

    /// Drops the references that could not be dropped before.
    func dropUndropped() async throws(BlockError) {
        while let clusters = state.withLock({ $0.undropped.popLast() }) {
            try await drop(clusters) { (error) throws(BlockError) in throw error }
        }
    }

    /// - Parameter orElse: called where the file fails, with what is left to do remembered.
    private func drop(
        _ clusters: ClosedRange<UInt64>, orElse: (BlockError) throws(BlockError) -> Void
    ) async throws(BlockError) {
        for cluster in clusters {
            do throws(BlockError) {
                try await dropReference(to: cluster)
            } catch {
                if case .layer = error { throw error }
                state.withLock { $0.undropped.append(cluster...clusters.upperBound) }
                return try orElse(error)
            }
        }
    }

    private func dropReference(to cluster: UInt64) async throws(BlockError) {
        let count = try await refcount(of: cluster)
        guard count > 0 else {
            throw failure(.refcount(cluster: cluster, rule: "is 0 although the cluster is in use"))
        }
        try await setRefcount(of: cluster, to: count - 1)
        let bits = UInt64(geometry.clusterBits)
        state.withLock { state in
            // Room behind compressed data may be gone with it.
            if cluster == state.compressedEnd >> bits { state.compressedEnd = 0 }
            guard count == 1 else { return }
            state.firstFreeCluster = min(state.firstFreeCluster, cluster)
            // A table that was there must not be written over what comes.
            state.cache.remove(in: cluster << bits..<(cluster + 1) << bits, pieceLength: pieceLength)
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
        try await take(place..<place + 1)
        let block = HostOffset(place << UInt64(geometry.clusterBits))
        do throws(BlockError) {
            try await insertZeroTable(at: block)
            state.withLock { state in
                state.refcountTable[index] = block.bytes
                state.isRefcountTableDirty = true
            }
            // Covered by the block itself, or by another one that is made now.
            try await setRefcount(of: place, to: 1)
        } catch {
            state.withLock { state in
                state.refcountTable[index] = 0
                forget(block.bytes, in: &state)
            }
            throw error
        }
        return block
    }

    /// Lets go of a table that was never brought to the file.
    private func forget(_ table: UInt64, in state: inout State) {
        state.cache.remove(in: table..<table + geometry.clusterLength, pieceLength: pieceLength)
        state.firstFreeCluster = min(state.firstFreeCluster, table >> UInt64(geometry.clusterBits))
    }

    /// Moves the refcount table to where it has room for more.
    private func growRefcountTable(toHold index: Int) async throws(BlockError) {
        let bits = UInt64(geometry.clusterBits)
        let entriesPerCluster = geometry.clusterLength / 8
        let (old, oldCount, end) = state.withLock { ($0.header.header, $0.refcountTable.count, $0.endCluster) }
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
        try await take(start..<start + clusters)
        state.withLock { state in
            let missing = Int(clusters * entriesPerCluster) - oldCount
            state.refcountTable += [UInt64](repeating: 0, count: missing)
        }
        do throws(BlockError) {
            try await occupy(start..<start + clusters)
        } catch {
            try await shrinkRefcountTable(to: oldCount)
            throw error
        }
        state.withLock { state in
            state.header.header.refcountTableOffset = start << bits
            state.header.header.refcountTableClusters = UInt32(clusters)
            state.isRefcountTableDirty = true
            state.isHeaderDirty = true
        }
        if old.refcountTableClusters > 0 {
            try await release(
                offset: old.refcountTableOffset, length: UInt64(old.refcountTableClusters) * geometry.clusterLength)
        }
    }

    /// Forgets the blocks that a table which could not be moved has no room for.
    private func shrinkRefcountTable(to count: Int) async throws(BlockError) {
        let blocks = state.withLock { state in
            let blocks = state.refcountTable[count...].filter { $0 != 0 }
            state.refcountTable.removeSubrange(count...)
            for block in blocks { forget(block, in: &state) }
            return blocks
        }
        for block in blocks where try refcountBlock(of: block >> UInt64(geometry.clusterBits)) != nil {
            try await release(offset: block, length: geometry.clusterLength)
        }
    }
}
