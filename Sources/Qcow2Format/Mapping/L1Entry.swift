// SPDX-License-Identifier: GPL-2.0-or-later

/// An entry of the L1 table: where an L2 table is.
///
/// Spec: “L1 table entry”.
struct L1Entry: Sendable, Equatable {
    let rawValue: UInt64

    static let offsetMask: UInt64 = 0x00ff_ffff_ffff_fe00
    static let copiedFlag: UInt64 = 1 << 63

    static var reservedMask: UInt64 { ~(offsetMask | copiedFlag) }

    init(rawValue: UInt64) {
        self.rawValue = rawValue
    }

    init(l2Table: HostOffset, isCopied: Bool = true) {
        rawValue = l2Table.bytes | (isCopied ? Self.copiedFlag : 0)
    }

    /// `nil` where the L2 table and all clusters it would describe are unallocated.
    var l2TableOffset: HostOffset? {
        let offset = rawValue & Self.offsetMask
        return offset == 0 ? nil : HostOffset(offset)
    }

    /// Whether the L2 table's refcount is exactly one, so that it may be changed in place.
    var isCopied: Bool { rawValue & Self.copiedFlag != 0 }

    var hasReservedBits: Bool { rawValue & Self.reservedMask != 0 }
}
