// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// How a disk is cut up to be digested: into ranges, each with a digest, made of units.
///
/// Both are fixed, whatever the cluster size and the format, so that copies of the same content have the same digests. A
/// unit is the smallest cluster that a backup copies: a backup holds all of it or nothing. The last one may be short.
package struct ContentGeometry: Sendable, Equatable {
    /// Bytes of a unit.
    package static let unitLength: UInt64 = 64 << 10
    /// Bytes of a range.
    package static let rangeLength: UInt64 = 1 << 20
    static let unitsInRange = Int(rangeLength / unitLength)

    /// Length of the disk in bytes.
    package let virtualSize: UInt64

    package init(virtualSize: UInt64) {
        self.virtualSize = virtualSize
    }

    package var rangeCount: UInt64 { virtualSize.dividedRoundingUp(by: Self.rangeLength) }
    var unitCount: UInt64 { virtualSize.dividedRoundingUp(by: Self.unitLength) }

    /// The bytes of a range of the disk.
    package func bytes(ofRange index: UInt64) -> Range<UInt64> {
        let start = index * Self.rangeLength
        return start..<min(start + Self.rangeLength, max(start, virtualSize))
    }

    /// The bytes of a unit of the disk.
    func bytes(ofUnit index: UInt64) -> Range<UInt64> {
        let start = index * Self.unitLength
        return start..<min(start + Self.unitLength, max(start, virtualSize))
    }

    /// The units of a range, one bit each from bit 0 on.
    func allUnits(ofRange index: UInt64) -> UInt16 {
        let bytes = bytes(ofRange: index)
        let count = (bytes.upperBound - bytes.lowerBound).dividedRoundingUp(by: Self.unitLength)
        return count >= 16 ? .max : (1 << UInt16(count)) - 1
    }
}
