// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// What a backup holds: which units, and a digest of each range that isn't all zero. Read from its manifest as needed.
///
/// The content is what a guest reads there, through the whole chain. The disk at the backup's point in time is its parent's
/// with these units in place of the parent's own; so whoever proves the parent and these has proved the disk, whatever the
/// formats, the cluster sizes and the compression.
///
/// In the manifest's body come, for a backup that holds part of the disk only, the stretches of the units that it holds;
/// then the stretches of ranges that aren't all zero, with their digests. The same content has the same bytes.
package struct ContentDigests: Sendable {
    package let geometry: ContentGeometry
    package let algorithm: DigestAlgorithm
    /// One digest of all: copies of the same content have the same, and hardly anything else has.
    package let root: Digest
    /// Bytes that the backup holds.
    package let heldLength: UInt64
    /// The units that the backup holds; `nil` where it holds the whole disk.
    let layer: StretchSection?
    /// The ranges that aren't all zero.
    let data: StretchSection

    /// Reads the body of a manifest once, and remembers where things are.
    ///
    /// - Parameters:
    ///   - body: in bytes of the device.
    ///   - seal: the whole body is added, whatever it is.
    /// - Returns: `nil` for anything that isn't written so for such a disk.
    init?(
        reading device: any BlockDevice, _ body: Range<UInt64>, _ algorithm: DigestAlgorithm, virtualSize: UInt64,
        isWhole: Bool, _ seal: inout DigestStream
    ) async throws(BlockError) {
        geometry = ContentGeometry(virtualSize: virtualSize)
        self.algorithm = algorithm
        var reader = BodyReader(
            device, body, algorithm,
            root: Self.rootStream(algorithm, virtualSize: virtualSize, isWhole: isWhole))
        var layer: StretchSection?
        if !isWhole {
            layer = try await reader.section(StretchParser(limit: geometry.unitCount, digestLength: 0), &seal)
        }
        var data: StretchSection?
        if isWhole || layer != nil {
            let parser = StretchParser(limit: geometry.rangeCount, digestLength: algorithm.length)
            data = try await reader.section(parser, &seal)
        }
        let isComplete = reader.isAtEnd
        try await reader.skipToEnd(&seal)
        root = reader.digest
        guard let data, isComplete else { return nil }
        (self.layer, self.data) = (layer, data)
        heldLength = try await layer?.length(in: geometry) ?? virtualSize
        guard try await holdsItsData() else { return nil }
    }

    /// The root digest before anything of the body is added to it.
    static func rootStream(_ algorithm: DigestAlgorithm, virtualSize: UInt64, isWhole: Bool) -> DigestStream {
        var stream = DigestStream(algorithm)
        var head: [UInt8] = []
        head.appendBigEndian(virtualSize)
        head.append(isWhole ? 0 : 1)
        stream.add(head.span.bytes)
        return stream
    }

    /// Whether something is held of each range that has a digest.
    private func holdsItsData() async throws(BlockError) -> Bool {
        guard let layer else { return true }
        let unitsInRange = UInt64(ContentGeometry.unitsInRange)
        var range: UInt64 = 0
        while let stretch = try await data.next(from: range) {
            range = max(range, stretch.lowerBound)
            while range < stretch.upperBound {
                guard let units = try await layer.next(from: range * unitsInRange),
                    units.lowerBound < (range + 1) * unitsInRange
                else { return false }
                range = units.upperBound.dividedRoundingUp(by: unitsInRange)
            }
        }
        return true
    }

    // MARK: What is held

    /// Whether the backup holds the whole disk.
    package var isWhole: Bool { layer == nil }

    /// Number of ranges that aren't all zero.
    package var dataRangeCount: UInt64 { data.count }

    /// The digest of what the backup holds of a range; `nil` where that is nothing, or all zero.
    package func digest(ofRange index: UInt64) async throws(BlockError) -> Digest? {
        try await data.digest(of: index)
    }

    /// The first range from `range` on that isn't all zero.
    func nextDataRange(from range: UInt64) async throws(BlockError) -> UInt64? {
        try await data.next(from: range).map { max(range, $0.lowerBound) }
    }

    /// The units of a range that the backup holds, one bit each from bit 0 on.
    package func heldUnits(ofRange index: UInt64) async throws(BlockError) -> UInt16 {
        let all = geometry.allUnits(ofRange: index)
        guard let layer else { return all }
        let first = index * UInt64(ContentGeometry.unitsInRange)
        var held: UInt16 = 0
        var unit = first
        while let stretch = try await layer.next(from: unit), stretch.lowerBound < first + 16 {
            for number in max(stretch.lowerBound, first)..<min(stretch.upperBound, first + 16) {
                held |= 1 << UInt16(number - first)
            }
            unit = stretch.upperBound
            if unit >= first + 16 { break }
        }
        return held & all
    }

    /// The first range from `range` on of which the backup holds something, or else the first of all.
    ///
    /// - Returns: `nil` where it holds nothing.
    package func heldRange(from range: UInt64) async throws(BlockError) -> UInt64? {
        guard let layer else { return range < geometry.rangeCount ? range : nil }
        let unitsInRange = UInt64(ContentGeometry.unitsInRange)
        if let stretch = try await layer.next(from: range.multiplied(by: unitsInRange) ?? .max) {
            return max(range, stretch.lowerBound / unitsInRange)
        }
        return try await layer.next(from: 0).map { $0.lowerBound / unitsInRange }
    }

    /// Bytes of a range that the backup holds.
    package func heldLength(ofRange index: UInt64) async throws(BlockError) -> UInt64 {
        let held = try await heldUnits(ofRange: index)
        let first = index * UInt64(ContentGeometry.unitsInRange)
        return (0..<ContentGeometry.unitsInRange).reduce(0) { length, unit in
            guard held & (1 << UInt16(unit)) != 0 else { return length }
            let bytes = geometry.bytes(ofUnit: first + UInt64(unit))
            return length + (bytes.upperBound - bytes.lowerBound)
        }
    }
}

extension StretchSection {
    /// Bytes of the units of a disk in all stretches.
    fileprivate func length(in geometry: ContentGeometry) async throws(BlockError) -> UInt64 {
        guard count > 0 else { return 0 }
        // The last unit may be short.
        let last = geometry.bytes(ofUnit: geometry.unitCount - 1)
        let full = count * ContentGeometry.unitLength
        guard try await next(from: geometry.unitCount - 1) != nil else { return full }
        return full - ContentGeometry.unitLength + (last.upperBound - last.lowerBound)
    }
}
