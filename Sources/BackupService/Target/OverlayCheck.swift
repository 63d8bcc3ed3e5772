// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// Tells whether copying a source's top layer onto a target makes the two equal, given that they have the same backing
/// file: it does where everything that the target's own layer holds is written over.
struct OverlayCheck {
    let source: any BlockDevice
    /// Of the source's length.
    let target: any BlockDevice
    /// Bytes in a copy cluster, a power of two: copied as a whole once the source's top layer holds any part of it.
    let clusterSize: UInt64

    /// Offset in bytes of something that the target's own layer holds and that would stay; `nil` where there is nothing.
    func firstForeignOffset() async throws(BlockError) -> UInt64? {
        let length = target.length
        var position: UInt64 = 0
        while position < length {
            let extent = try await target.blockStatus(at: position, length: length - position, in: .topLayer)
            let end = position + extent.length
            if extent.isAllocated, let cluster = try await firstClusterNotHeld(position..<end) {
                return max(cluster, position)
            }
            position = end
        }
        return nil
    }

    /// Start of the first copy cluster touching the range of which the source's top layer holds nothing.
    private func firstClusterNotHeld(_ range: Range<UInt64>) async throws(BlockError) -> UInt64? {
        let length = source.length
        var position = range.lowerBound.alignedDown(to: clusterSize)
        while position < range.upperBound {
            let cluster = position.alignedDown(to: clusterSize)
            let clusterEnd = min((position + 1).alignedUp(to: clusterSize) ?? length, length)
            let extent = try await source.blockStatus(at: position, length: length - position, in: .topLayer)
            let end = position + extent.length
            if extent.isAllocated {
                position = min(end.alignedUp(to: clusterSize) ?? length, length)
            } else if end >= clusterEnd {
                return cluster
            } else {
                position = end
            }
        }
        return nil
    }
}
