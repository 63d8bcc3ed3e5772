// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

extension LayerProof {
    /// Ranges that are as they were, as the device says without a look at any data.
    package struct Known: Sendable {
        package var count: UInt64 = 0
        /// Whether the layer holds them.
        package var isHeld = false
    }

    /// How many ranges, from one on, are known to be right: those of which the layer held nothing, and shows nothing of its
    /// own; and those that it held as zeroes, and that are zero.
    package func knownRanges(from index: UInt64, limit: UInt64) async throws(BlockError) -> Known {
        var end = min(limit, try await digests.nextDataRange(from: index) ?? .max)
        guard index < end else { return Known() }
        let (isHeld, next) = try await digests.uniformRanges(from: index)
        end = min(end, next)
        guard index < end else { return Known() }
        let geometry = digests.geometry
        let bytes = geometry.bytes(ofRange: index).lowerBound..<geometry.bytes(ofRange: end - 1).upperBound
        var position = bytes.lowerBound
        while position < bytes.upperBound {
            let extent = try await device.blockStatus(
                at: position, length: bytes.upperBound - position, in: isHeld ? .chain : .topLayer)
            guard isHeld ? extent.readsAsZero : !extent.isAllocated else { break }
            position += extent.length
        }
        let known = position == bytes.upperBound ? end : position / ContentGeometry.rangeLength
        return Known(count: known - index, isHeld: isHeld)
    }
}

extension ContentDigests {
    /// How far, from a range on, all units are held, or none is.
    ///
    /// - Returns: where that ends; the range itself where only a part of it is held.
    fileprivate func uniformRanges(from index: UInt64) async throws(BlockError) -> (isHeld: Bool, end: UInt64) {
        guard let layer else { return (true, geometry.rangeCount) }
        let unitsInRange = UInt64(ContentGeometry.unitsInRange)
        let first = index * unitsInRange
        guard let stretch = try await layer.next(from: first) else { return (false, geometry.rangeCount) }
        guard stretch.lowerBound <= first else { return (false, stretch.lowerBound / unitsInRange) }
        let end = stretch.upperBound
        return (true, end == geometry.unitCount ? geometry.rangeCount : end / unitsInRange)
    }
}
