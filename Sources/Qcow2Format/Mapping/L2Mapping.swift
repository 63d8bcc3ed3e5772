// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// What an L2 entry says of its cluster, and which rules of the format it breaks.
struct L2Mapping: Sendable, Equatable {
    enum Place: Sendable, Equatable {
        case none
        /// Stored as it is, or reserved for a cluster that reads as zeroes.
        case cluster(HostOffset)
        case compressed(CompressedClusterDescriptor)
    }

    struct Defects: OptionSet, Sendable {
        let rawValue: UInt16

        static let reservedBits = Defects(rawValue: 1 << 0)
        /// The zero flag, which version 2 doesn't have.
        static let zeroFlagInVersion2 = Defects(rawValue: 1 << 1)
        /// The zero flag in an extended entry, where the bitmap has its place: it means nothing.
        static let ignoredZeroFlag = Defects(rawValue: 1 << 2)
        /// The copied flag and no cluster that it could be said of: it means nothing.
        static let copiedWithoutCluster = Defects(rawValue: 1 << 3)
        static let copiedCompressed = Defects(rawValue: 1 << 4)
        static let compressedInDataFile = Defects(rawValue: 1 << 5)
        /// A compressed cluster with a subcluster bitmap, which means nothing.
        static let compressedWithBitmap = Defects(rawValue: 1 << 6)
        static let unaligned = Defects(rawValue: 1 << 7)
        /// A cluster of an external data file that does not lie where the guest has it.
        static let misplaced = Defects(rawValue: 1 << 8)
        /// A subcluster is allocated and zero at once.
        static let subclusterConflict = Defects(rawValue: 1 << 9)
        static let subclustersWithoutCluster = Defects(rawValue: 1 << 10)

        /// What everybody reads in the same way all the same.
        static let harmless: Defects = [.ignoredZeroFlag, .copiedWithoutCluster, .compressedWithBitmap]
    }

    let place: Place
    /// Whether all of the cluster reads as zeroes, whatever is stored. Without subclusters.
    let isZero: Bool
    let defects: Defects

    /// Whether the entry must not be followed.
    var isBroken: Bool { !defects.isSubset(of: .harmless) }
}

/// The one reading of L2 entries. Who reads the disk, who checks the image and who mends it go by it, so that what a check
/// calls clean can be read.
///
/// Spec: “L2 table entry”, “Extended L2 Entries”, “Compressed Clusters Descriptor”.
struct L2EntryRules: Sendable {
    let geometry: ClusterGeometry
    let version: UInt32
    let hasExternalDataFile: Bool

    init(_ layout: ImageLayout) {
        geometry = layout.geometry
        version = layout.version
        hasExternalDataFile = layout.hasExternalDataFile
    }

    /// - Parameters:
    ///   - bitmap: empty without subclusters.
    ///   - guest: offset of the cluster on the disk.
    func mapping(of entry: L2Entry, _ bitmap: SubclusterBitmap, at guest: UInt64) -> L2Mapping {
        var defects: L2Mapping.Defects = []
        if entry.isCompressed {
            if entry.isCopied { defects.insert(.copiedCompressed) }
            if hasExternalDataFile { defects.insert(.compressedInDataFile) }
            if bitmap.rawValue != 0 { defects.insert(.compressedWithBitmap) }
            let descriptor = CompressedClusterDescriptor(entry, clusterBits: geometry.clusterBits)
            return L2Mapping(place: .compressed(descriptor), isZero: false, defects: defects)
        }
        if entry.rawValue & L2Entry.reservedMask != 0 { defects.insert(.reservedBits) }
        let isZero = entry.isZero && !geometry.hasSubclusters
        if entry.isZero {
            if geometry.hasSubclusters {
                defects.insert(.ignoredZeroFlag)
            } else if version < 3 {
                defects.insert(.zeroFlagInVersion2)
            }
        }
        let host = entry.hostOffset
        // Offset 0 is the first cluster of a data file where the copied flag says so, and no cluster everywhere else.
        guard host.bytes != 0 || hasExternalDataFile && entry.isCopied && !isZero else {
            if entry.isCopied { defects.insert(.copiedWithoutCluster) }
            if bitmap.hasAllocated { defects.insert(.subclustersWithoutCluster) }
            return L2Mapping(place: .none, isZero: isZero, defects: defects)
        }
        if !host.bytes.isAligned(to: geometry.clusterLength) { defects.insert(.unaligned) }
        if hasExternalDataFile, host.bytes != guest { defects.insert(.misplaced) }
        if !bitmap.isValid { defects.insert(.subclusterConflict) }
        return L2Mapping(place: .cluster(host), isZero: isZero, defects: defects)
    }
}
