// SPDX-License-Identifier: GPL-2.0-or-later

/// An entry of an L2 table: where a cluster is.
///
/// Spec: “L2 table entry”.
struct L2Entry: Sendable, Equatable {
    let rawValue: UInt64

    static let offsetMask: UInt64 = 0x00ff_ffff_ffff_fe00
    static let copiedFlag: UInt64 = 1 << 63
    private static let compressedFlag: UInt64 = 1 << 62
    static let zeroFlag: UInt64 = 1

    /// Bits that have no meaning in any entry of a cluster that is stored as it is.
    static var reservedMask: UInt64 { ~(offsetMask | copiedFlag | compressedFlag | zeroFlag) }

    init(rawValue: UInt64) {
        self.rawValue = rawValue
    }

    init(cluster: HostOffset, isCopied: Bool = true) {
        rawValue = cluster.bytes | (isCopied ? Self.copiedFlag : 0)
    }

    init(_ descriptor: CompressedClusterDescriptor, clusterBits: Int) {
        rawValue = Self.compressedFlag | descriptor.encoded(clusterBits: clusterBits)
    }

    static let unallocated = L2Entry(rawValue: 0)
    /// Reads as zeroes and has no cluster. Version 3, without subclusters.
    static let zero = L2Entry(rawValue: zeroFlag)

    var isCompressed: Bool { rawValue & Self.compressedFlag != 0 }
    /// Whether the cluster's refcount is exactly one, so that it may be changed in place.
    var isCopied: Bool { rawValue & Self.copiedFlag != 0 }
    /// Whether the cluster reads as zeroes, whatever is stored. Version 3, without subclusters.
    var isZero: Bool { rawValue & Self.zeroFlag != 0 }
    /// The cluster; 0 for none, but for an external data file, whose first cluster lies there. Not for compressed ones.
    var hostOffset: HostOffset { HostOffset(rawValue & Self.offsetMask) }
}
