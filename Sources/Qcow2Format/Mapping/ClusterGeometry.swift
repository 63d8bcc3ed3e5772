// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// How guest offsets divide into L1 entries, L2 entries, clusters and subclusters.
///
/// Spec: “Cluster mapping”, “Extended L2 Entries”.
package struct ClusterGeometry: Sendable, Equatable {
    /// The cluster sizes of the format: 512 B to 2 MiB.
    package static let clusterBitsRange = 9...21
    /// Bytes in the largest cluster.
    static let maximumClusterLength = 1 << clusterBitsRange.upperBound
    /// Extended L2 entries divide a cluster into this many subclusters.
    package static let subclustersPerCluster = 32
    /// Smallest cluster whose subclusters are whole sectors: 16 KiB.
    package static let extendedMinimumClusterBits = 14

    package let clusterBits: Int
    /// Whether L2 entries are extended by a subcluster bitmap.
    package let hasSubclusters: Bool

    package init(clusterBits: Int, hasSubclusters: Bool) {
        precondition(Self.clusterBitsRange.contains(clusterBits))
        self.clusterBits = clusterBits
        self.hasSubclusters = hasSubclusters
    }

    package var clusterLength: UInt64 { 1 << UInt64(clusterBits) }

    /// Log2 of the smallest unit that is allocated on its own.
    package var unitBits: Int { hasSubclusters ? clusterBits - 5 : clusterBits }

    /// Bytes in a subcluster, or in a cluster where there are none.
    package var unitLength: UInt64 { 1 << UInt64(unitBits) }

    /// Words of 8 bytes in an L2 entry.
    var l2EntryWords: Int { hasSubclusters ? 2 : 1 }

    /// Log2 of the entries in an L2 table, which fills one cluster.
    var l2EntryCountBits: Int { clusterBits - (hasSubclusters ? 4 : 3) }

    /// Log2 of the guest bytes that an L2 table maps.
    var l2CoverageBits: Int { clusterBits + l2EntryCountBits }

    func l1Index(of guest: GuestOffset) -> Int {
        // At least 15 bits are shifted out: the rest fits.
        Int(guest.bytes >> UInt64(l2CoverageBits))
    }

    /// Index of the cluster's entry in its L2 table.
    func l2Index(of guest: GuestOffset) -> Int {
        Int(guest.bytes >> UInt64(clusterBits)) & (1 << l2EntryCountBits - 1)
    }

    /// L1 entries that a disk of `length` bytes needs.
    func l1EntryCount(forLength length: UInt64) -> UInt64 {
        length.dividedRoundingUp(by: 1 << UInt64(l2CoverageBits))
    }
}
