// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
public import DirtyBitmaps

/// What a backup holds: which units, and a digest of each range that isn't all zero.
///
/// The content is what a guest reads there, through the whole chain. The disk at the backup's point in time is its parent's
/// with these units in place of the parent's own; so whoever proves the parent and these has proved the disk, whatever the
/// formats, the cluster sizes and the compression.
public struct ContentDigests: Sendable {
    public let geometry: ContentGeometry
    /// The units that the backup holds; `nil` where it holds the whole disk.
    public let layer: DirtyBitmap?
    let table: DigestTable

    public var algorithm: DigestAlgorithm { table.algorithm }

    /// Number of ranges that aren't all zero.
    public var dataRangeCount: UInt64 { table.count }

    init(geometry: ContentGeometry, layer: DirtyBitmap?, table: DigestTable) {
        self.geometry = geometry
        self.layer = layer
        self.table = table
    }

    /// The digest of what the backup holds of a range; `nil` where that is nothing, or all zero.
    public subscript(range: UInt64) -> Digest? { table[range] }

    /// The first range from `range` on that isn't all zero.
    func nextDataRange(from range: UInt64) -> UInt64? {
        table.next(from: range, limit: geometry.rangeCount)
    }

    /// The units of a range that the backup holds, one bit each from bit 0 on.
    public func heldUnits(ofRange index: UInt64) -> UInt16 {
        let all = geometry.allUnits(ofRange: index)
        guard let layer else { return all }
        let bytes = geometry.bytes(ofRange: index)
        guard layer.hasDirty(in: bytes) else { return 0 }
        var held: UInt16 = 0
        for unit in 0..<ContentGeometry.unitsInRange where all & (1 << UInt16(unit)) != 0 {
            if layer.isDirty(at: bytes.lowerBound + UInt64(unit) * ContentGeometry.unitLength) {
                held |= 1 << UInt16(unit)
            }
        }
        return held
    }

    /// The first range from `range` on of which the backup holds something, or else the first of all.
    ///
    /// - Returns: `nil` where it holds nothing.
    public func heldRange(from range: UInt64) -> UInt64? {
        guard let layer else { return range < geometry.rangeCount ? range : nil }
        let found = layer.nextDirty(from: geometry.bytes(ofRange: range).lowerBound) ?? layer.nextDirty(from: 0)
        return found.map { $0 / ContentGeometry.rangeLength }
    }

    /// Bytes that the backup holds.
    public var heldLength: UInt64 {
        guard let layer else { return geometry.virtualSize }
        // The bitmap counts whole units, and the last one may be short.
        let last = geometry.unitCount == 0 ? 0..<0 : geometry.bytes(ofUnit: geometry.unitCount - 1)
        guard layer.hasDirty(in: last) else { return layer.dirtyLength }
        return layer.dirtyLength - ContentGeometry.unitLength + (last.upperBound - last.lowerBound)
    }

    /// Bytes of a range that the backup holds.
    public func heldLength(ofRange index: UInt64) -> UInt64 {
        let held = heldUnits(ofRange: index)
        let first = index * UInt64(ContentGeometry.unitsInRange)
        return (0..<ContentGeometry.unitsInRange).reduce(0) { length, unit in
            guard held & (1 << UInt16(unit)) != 0 else { return length }
            let bytes = geometry.bytes(ofUnit: first + UInt64(unit))
            return length + (bytes.upperBound - bytes.lowerBound)
        }
    }

    /// One digest of all: copies of the same content have the same, and hardly anything else has.
    public var root: Digest {
        var stream = DigestStream(algorithm)
        var head: [UInt8] = []
        head.appendBigEndian(geometry.virtualSize)
        head.append(layer == nil ? 0 : 1)
        stream.add(head.span.bytes)
        encode { stream.add($0.span.bytes) }
        return stream.digest()
    }
}
