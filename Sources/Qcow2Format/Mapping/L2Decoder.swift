// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// Turns L2 entries into runs of guest bytes, and refuses entries that break the format.
struct L2Decoder: Sendable {
    let rules: L2EntryRules
    /// Clusters of the image file that hold metadata.
    let metadata: MetadataClusters

    var geometry: ClusterGeometry { rules.geometry }
    var hasExternalDataFile: Bool { rules.hasExternalDataFile }

    /// Appends the runs of the guest bytes `range`, which lie in one cluster.
    ///
    /// - Parameters:
    ///   - words: the cluster's L2 entry; the second word is used for subclusters only.
    ///   - runs: the last one grows where it can.
    func appendRuns(
        of range: Range<UInt64>, entry: L2Entry, bitmap: UInt64, to runs: inout [ClusterRun]
    ) throws(Qcow2Error.Problem) {
        let guest = GuestOffset(range.lowerBound)
        let bitmap = SubclusterBitmap(rawValue: bitmap)
        let cluster = range.lowerBound.alignedDown(to: geometry.clusterLength)
        let mapping = rules.mapping(of: entry, bitmap, at: cluster)
        guard !mapping.isBroken else { throw Self.problem(mapping, entry, bitmap, at: guest, cluster: cluster) }
        let host: HostOffset?
        switch mapping.place {
        case .none: host = nil
        case .cluster(let offset):
            try checkOverlap(.dataCluster, at: offset.bytes, length: geometry.clusterLength, guest: guest)
            host = offset
        case .compressed(let descriptor):
            try checkOverlap(
                .compressedCluster, at: descriptor.offset.bytes, length: descriptor.length, guest: guest)
            append(ClusterRun(guest: guest, length: UInt64(range.count), kind: .compressed(descriptor)), to: &runs)
            return
        }
        if geometry.hasSubclusters { return appendSubclusters(of: range, host: host, bitmap: bitmap, to: &runs) }
        let inside = range.lowerBound & (geometry.clusterLength - 1)
        let kind: ClusterRun.Kind =
            if mapping.isZero {
                .zero(reserved: host.map { HostOffset($0.bytes + inside) })
            } else if let host {
                .data(HostOffset(host.bytes + inside))
            } else {
                .unallocated
            }
        append(ClusterRun(guest: guest, length: UInt64(range.count), kind: kind), to: &runs)
    }

    /// What is told of an entry that must not be followed.
    private static func problem(
        _ mapping: L2Mapping, _ entry: L2Entry, _ bitmap: SubclusterBitmap, at guest: GuestOffset, cluster: UInt64
    ) -> Qcow2Error.Problem {
        let defects = mapping.defects
        if !defects.isDisjoint(with: [.reservedBits, .zeroFlagInVersion2, .copiedCompressed]) {
            return .l2ReservedBits(guest: guest, entry: entry.rawValue)
        }
        if defects.contains(.compressedInDataFile) {
            return .cluster(
                .compressedCluster, guest: guest, offset: 0, rule: "is not supported with an external data file")
        }
        let offset = entry.hostOffset.bytes
        if defects.contains(.unaligned) {
            return .cluster(.dataCluster, guest: guest, offset: offset, rule: "is not aligned to a cluster")
        }
        if defects.contains(.misplaced) {
            return .cluster(
                .dataCluster, guest: guest, offset: offset,
                rule: "does not lie at the guest's offset, as all of an external data file do")
        }
        return .subclusters(guest: GuestOffset(cluster), bitmap: bitmap.rawValue)
    }

    private func appendSubclusters(
        of range: Range<UInt64>, host: HostOffset?, bitmap: SubclusterBitmap, to runs: inout [ClusterRun]
    ) {
        let cluster = range.lowerBound.alignedDown(to: geometry.clusterLength)
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

    /// Refuses data where metadata is. In a data file there is none.
    private func checkOverlap(
        _ structure: Qcow2Error.Structure, at offset: UInt64, length: UInt64, guest: GuestOffset
    ) throws(Qcow2Error.Problem) {
        guard !hasExternalDataFile, let overlap = metadata.firstOverlap(offset: offset, length: length) else { return }
        throw .cluster(structure, guest: guest, offset: offset, rule: "overlaps metadata at offset \(overlap)")
    }

    private func append(_ run: ClusterRun, to runs: inout [ClusterRun]) {
        if runs.isEmpty || !runs[runs.count - 1].absorb(run) {
            runs.append(run)
        }
    }
}
