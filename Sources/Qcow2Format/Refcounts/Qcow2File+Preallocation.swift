// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// Telling images whose clusters were allocated before anything was written to them.
extension Qcow2File {
    /// Whether clearly more clusters are in use than the file has room on the disk: then clusters lie in holes of the file.
    ///
    /// Clearly is a ninth more, and two clusters: QEMU's rule, so that both tell the same of an image.
    ///
    /// - Parameter allocatedLength: bytes that the file takes on its disk.
    /// - Complexity: reads refcounts, up to the number of clusters that the file has room for.
    package func seemsPreallocated(allocatedLength: UInt64) async throws(BlockError) -> Bool {
        guard refcountTableProblem == nil else { return false }
        let clusterBits = UInt64(layout.geometry.clusterBits)
        let room = allocatedLength >> clusterBits
        // A file takes less than 2^63 bytes.
        let threshold = max(room / 9 * 10 + room % 9 * 10 / 9, room + 2)
        var clusters = file.length.dividedRoundingUp(by: layout.geometry.clusterLength)
        guard clusters >= threshold else { return false }
        let perBlock = UInt64(layout.refcounts.capacity(ofBytes: Int(layout.geometry.clusterLength)))
        let entries = UInt64(header.header.refcountTableClusters) << clusterBits / 8
        var used: UInt64 = 0
        for index in 0..<min(entries, clusters.dividedRoundingUp(by: perBlock)) {
            let entry = try await file.paddedContents(
                at: header.header.refcountTableOffset + index * 8, count: 8)
            let block: UInt64 = (try? entry.span.bytes.bigEndian(at: 0)) ?? 0
            let inside = min(perBlock, clusters)
            clusters -= inside
            guard block != 0 else { continue }
            used += try await usedClusters(in: block, count: Int(inside))
            if used >= threshold { return true }
        }
        return false
    }

    /// The number of refcounts other than 0 among the first `count` of a refcount block.
    private func usedClusters(in block: UInt64, count: Int) async throws(BlockError) -> UInt64 {
        let codec = layout.refcounts
        let length = (count << codec.order + 7) / 8
        let bytes = try await file.paddedContents(at: block, count: length)
        var used: UInt64 = 0
        for index in 0..<count where codec.value(in: bytes, at: index) != 0 { used += 1 }
        return used
    }
}
