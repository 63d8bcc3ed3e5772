// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore
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
        var scan = AllocationScan(
            source: source, clusterSize: clusterSize, from: range.lowerBound.alignedDown(to: clusterSize))
        while scan.position < range.upperBound, !scan.isFinished {
            if case .unallocated(let clusters) = try await scan.step() { return clusters.lowerBound }
        }
        return nil
    }
}
