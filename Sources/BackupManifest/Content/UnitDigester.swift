// SPDX-License-Identifier: GPL-2.0-or-later

/// Digests units and makes range digests of them.
///
/// The digest of a range is that of the digests of its units, one after the other in the order of the disk, without those
/// that the backup doesn't hold. So the units may come in any order, and from many workers.
struct UnitDigester: Sendable {
    let algorithm: DigestAlgorithm
    let geometry: ContentGeometry
    private let zeroUnit: Digest
    /// The last unit's, which may be short.
    private let zeroTail: Digest

    init(_ algorithm: DigestAlgorithm, _ geometry: ContentGeometry) {
        self.algorithm = algorithm
        self.geometry = geometry
        let zeroes = [UInt8](repeating: 0, count: Int(ContentGeometry.unitLength))
        zeroUnit = algorithm.digest(of: zeroes.span.bytes)
        // Less than a unit, so it fits.
        let tail = Int(geometry.virtualSize % ContentGeometry.unitLength)
        zeroTail = tail == 0 ? zeroUnit : algorithm.digest(of: zeroes.span.bytes.extracting(0..<tail))
    }

    /// The digest of a unit that is all zeroes.
    func zero(ofUnit index: UInt64) -> Digest {
        index + 1 == geometry.unitCount ? zeroTail : zeroUnit
    }

    /// The digest of a range.
    ///
    /// - Parameters:
    ///   - held: the units that the backup holds, one bit each.
    ///   - data: the digests of those among them that aren't zero, by their place in the range.
    /// - Returns: `nil` where all that is held is zero.
    func digest(ofRange index: UInt64, held: UInt16, data: borrowing RangeUnits) -> Digest? {
        guard data.known & held != 0 else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(ContentGeometry.unitsInRange * algorithm.length)
        for unit in 0..<ContentGeometry.unitsInRange where held & (1 << UInt16(unit)) != 0 {
            let number = index * UInt64(ContentGeometry.unitsInRange) + UInt64(unit)
            (data[unit] ?? zero(ofUnit: number)).append(to: &bytes)
        }
        return algorithm.digest(of: bytes.span.bytes)
    }
}

extension UnitDigester {
    /// The digest of a range whose bytes are at hand.
    ///
    /// - Parameter bytes: the whole range; of it, what isn't held doesn't count.
    func digest(ofRange index: UInt64, held: UInt16, in bytes: RawSpan) -> Digest? {
        var units = RangeUnits()
        var start = 0
        for unit in 0..<ContentGeometry.unitsInRange where start < bytes.byteCount {
            let end = min(start + Int(ContentGeometry.unitLength), bytes.byteCount)
            if held & (1 << UInt16(unit)) != 0 {
                let number = index * UInt64(ContentGeometry.unitsInRange) + UInt64(unit)
                let digest = algorithm.digest(of: bytes.extracting(start..<end))
                if digest != zero(ofUnit: number) { units[unit] = digest }
            }
            start = end
        }
        return self.digest(ofRange: index, held: held, data: units)
    }
}
