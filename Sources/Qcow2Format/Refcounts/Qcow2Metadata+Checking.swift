// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// Checking the refcounts that changes rely on.
extension Qcow2Metadata {
    /// A piece of a refcount block, kept while one cluster after the other is looked up in it.
    private struct Refcounts {
        /// Clusters where nothing of the disk may be, in order and apart from each other.
        let others: [Range<UInt64>]
        var clusters: Range<UInt64> = 0..<0
        /// `nil` where all are 0.
        var bytes: [UInt8]?

        func isOthers(_ cluster: UInt64) -> Bool {
            // The last one that begins at the cluster or before.
            var candidates = others[...]
            while candidates.count > 1 {
                let middle = candidates.startIndex + candidates.count / 2
                candidates = others[middle].lowerBound <= cluster ? candidates[middle...] : candidates[..<middle]
            }
            return candidates.first?.contains(cluster) ?? false
        }
    }

    /// Checks that every cluster in use counts as used, and once where its entry says so. Else it would be given to
    /// something else, or changed under whatever else uses it. To be called before the first change, with `changes` held.
    ///
    /// - Parameter others: clusters that belong to something else than the disk, in order and apart from each other.
    /// - Throws: `BlockError.layer` for the first cluster that is counted wrong, or lies in `others`.
    /// - Complexity: O(n) in the guest clusters that have L2 tables; reads all of these.
    func checkReferences(apartFrom others: [Range<UInt64>] = []) async throws(BlockError) {
        var known = Refcounts(others: others)
        let clusterLength = geometry.clusterLength
        for (index, value) in state.withLock({ $0.l1 }).enumerated() {
            let table = L1Entry(rawValue: value)
            guard let offset = try checkedTable(table, index: index)?.bytes else { continue }
            try await checkReferences(to: offset, length: clusterLength, isCopied: table.isCopied, &known)
            for piece in stride(from: offset, to: offset + clusterLength, by: Int(pieceLength)) {
                try await checkEntries(try await loadPiece(at: piece, of: .l2Table), &known)
            }
        }
    }

    private func checkEntries(_ bytes: [UInt8], _ known: inout Refcounts) async throws(BlockError) {
        for inside in stride(from: 0, to: bytes.count, by: geometry.l2EntryWords * 8) {
            let entry = Self.words(in: bytes, at: inside, hasBitmap: false).0
            if entry.isCompressed {
                let descriptor = CompressedClusterDescriptor(entry, clusterBits: geometry.clusterBits)
                try await checkReferences(
                    to: descriptor.offset.bytes, length: descriptor.length, isCopied: false, &known)
            } else if entry.hostOffset.bytes != 0, !layout.hasExternalDataFile {
                try await checkReferences(
                    to: entry.hostOffset.bytes, length: geometry.clusterLength, isCopied: entry.isCopied, &known)
            }
        }
    }

    private func checkReferences(
        to offset: UInt64, length: UInt64, isCopied: Bool, _ known: inout Refcounts
    ) async throws(BlockError) {
        let bits = UInt64(geometry.clusterBits)
        for cluster in offset >> bits...(offset + length - 1) >> bits {
            guard !known.isOthers(cluster) else {
                throw failure(
                    .refcount(
                        cluster: cluster,
                        rule:
                            "can't be right: both the disk and a bitmap lead there (qcowbackup check names the places)")
                )
            }
            if !known.clusters.contains(cluster) {
                known.bytes = try await refcounts(around: cluster)
                known.clusters = pieceRange(from: cluster / refcountsPerPiece * refcountsPerPiece, to: .max)
            }
            let count =
                known.bytes.map { layout.refcounts.value(in: $0, at: Int(cluster % refcountsPerPiece)) } ?? 0
            guard count == 1 || count > 1 && !isCopied else {
                throw failure(
                    .refcount(
                        cluster: cluster,
                        rule: "is \(count), which contradicts the entry that leads there (qcowbackup check -r all)"))
            }
        }
    }
}
