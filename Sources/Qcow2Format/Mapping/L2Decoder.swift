// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// Turns L2 entries into runs of guest bytes, and refuses entries that break the format.
struct L2Decoder: Sendable {
    let geometry: ClusterGeometry
    let version: UInt32
    let hasExternalDataFile: Bool
    /// Clusters of the image file that hold metadata.
    let metadata: MetadataClusters

    /// Appends the runs of the guest bytes `range`, which lie in one cluster.
    ///
    /// - Parameters:
    ///   - words: the cluster's L2 entry; the second word is used for subclusters only.
    ///   - runs: the last one grows where it can.
    func appendRuns(
        of range: Range<UInt64>, entry: L2Entry, bitmap: UInt64, to runs: inout [ClusterRun]
    ) throws(Qcow2Error.Problem) {
        let guest = GuestOffset(range.lowerBound)
        guard !entry.hasReservedBits(allowsZero: version >= 3 && !geometry.hasSubclusters) else {
            throw .l2ReservedBits(guest: guest, entry: entry.rawValue)
        }
        if entry.isCompressed {
            guard !hasExternalDataFile else {
                throw .cluster(
                    .compressedCluster, guest: guest, offset: 0, rule: "is not supported with an external data file")
            }
            let descriptor = CompressedClusterDescriptor(entry, clusterBits: geometry.clusterBits)
            if let overlap = metadata.firstOverlap(offset: descriptor.offset.bytes, length: descriptor.length) {
                throw .cluster(
                    .compressedCluster, guest: guest, offset: descriptor.offset.bytes,
                    rule: "overlaps metadata at offset \(overlap)")
            }
            append(ClusterRun(guest: guest, length: UInt64(range.count), kind: .compressed(descriptor)), to: &runs)
            return
        }
        let host = try clusterOffset(entry, guest: guest)
        if geometry.hasSubclusters {
            try appendSubclusters(of: range, host: host, bitmap: SubclusterBitmap(rawValue: bitmap), to: &runs)
            return
        }
        let inside = range.lowerBound & (geometry.clusterLength - 1)
        let kind: ClusterRun.Kind =
            if entry.isZero {
                .zero(reserved: host.map { HostOffset($0.bytes + inside) })
            } else if let host {
                .data(HostOffset(host.bytes + inside))
            } else {
                .unallocated
            }
        append(ClusterRun(guest: guest, length: UInt64(range.count), kind: kind), to: &runs)
    }

    private func appendSubclusters(
        of range: Range<UInt64>, host: HostOffset?, bitmap: SubclusterBitmap, to runs: inout [ClusterRun]
    ) throws(Qcow2Error.Problem) {
        let cluster = range.lowerBound.alignedDown(to: geometry.clusterLength)
        guard bitmap.isValid, host != nil || !bitmap.hasAllocated else {
            throw .subclusters(guest: GuestOffset(cluster), bitmap: bitmap.rawValue)
        }
        var position = range.lowerBound
        while position < range.upperBound {
            let index = Int((position - cluster) >> UInt64(geometry.unitBits))
            let end = min(cluster + UInt64(index + 1) * geometry.unitLength, range.upperBound)
            let stored = host.map { HostOffset($0.bytes + position - cluster) }
            let kind: ClusterRun.Kind =
                if bitmap.isZero(index) {
                    .zero(reserved: stored)
                } else if bitmap.isAllocated(index), let stored {
                    .data(stored)
                } else {
                    .unallocated
                }
            let room = kind == .unallocated ? stored : nil
            append(ClusterRun(guest: GuestOffset(position), length: end - position, kind: kind, room: room), to: &runs)
            position = end
        }
    }

    /// The checked offset of a cluster that is stored as it is; `nil` where there is none.
    private func clusterOffset(_ entry: L2Entry, guest: GuestOffset) throws(Qcow2Error.Problem) -> HostOffset? {
        let host = entry.hostOffset
        // Offset 0 without the copied flag is no cluster. With it, it is the first cluster: as good as any in a data
        // file, the header in an image file.
        if host.bytes == 0, !entry.isCopied { return nil }
        guard host.bytes.isAligned(to: geometry.clusterLength) else {
            throw .cluster(.dataCluster, guest: guest, offset: host.bytes, rule: "is not aligned to a cluster")
        }
        if !hasExternalDataFile,
            let overlap = metadata.firstOverlap(offset: host.bytes, length: geometry.clusterLength)
        {
            throw .cluster(
                .dataCluster, guest: guest, offset: host.bytes, rule: "overlaps metadata at offset \(overlap)")
        }
        return host
    }

    private func append(_ run: ClusterRun, to runs: inout [ClusterRun]) {
        if runs.isEmpty || !runs[runs.count - 1].absorb(run) {
            runs.append(run)
        }
    }
}
