// SPDX-License-Identifier: GPL-2.0-or-later

/// Which subclusters of a cluster are allocated, and which read as zeroes.
///
/// Spec: “Extended L2 Entries”.
struct SubclusterBitmap: Sendable, Equatable {
    var rawValue: UInt64

    init(rawValue: UInt64 = 0) {
        self.rawValue = rawValue
    }

    static let allAllocated = SubclusterBitmap(rawValue: 0x0000_0000_ffff_ffff)
    static let allZero = SubclusterBitmap(rawValue: 0xffff_ffff_0000_0000)

    func isAllocated(_ index: Int) -> Bool { rawValue >> UInt64(index) & 1 == 1 }
    func isZero(_ index: Int) -> Bool { rawValue >> UInt64(index + 32) & 1 == 1 }

    /// Whether any subcluster is stored in the cluster.
    var hasAllocated: Bool { rawValue & Self.allAllocated.rawValue != 0 }

    /// No subcluster is both allocated and zero.
    var isValid: Bool { rawValue & rawValue >> 32 == 0 }

    mutating func setAllocated(_ range: Range<Int>) {
        let mask = Self.mask(range)
        rawValue = (rawValue | mask) & ~(mask << 32)
    }

    mutating func setZero(_ range: Range<Int>) {
        let mask = Self.mask(range)
        rawValue = (rawValue | mask << 32) & ~mask
    }

    mutating func setUnallocated(_ range: Range<Int>) {
        let mask = Self.mask(range)
        rawValue &= ~(mask | mask << 32)
    }

    private static func mask(_ range: Range<Int>) -> UInt64 {
        (1 << UInt64(range.count) - 1) << UInt64(range.lowerBound)
    }
}
