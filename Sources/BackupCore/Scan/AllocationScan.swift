// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// Finds the clusters that the top layer of a disk does not hold, front to back.
///
/// A cluster is held once any byte of it is. Only whole clusters are ever reported as not held, so an unallocated run is
/// added to until it fills a cluster or an allocated byte shows up. Explicit zeroes are held: they hide what is below.
/// Each answer of the device is used whole, so the cost is that of the device's own walk.
package struct AllocationScan {
    private let source: any BlockDevice
    /// Bytes in a cluster, a power of two.
    private let clusterSize: UInt64
    /// Length of the disk in bytes.
    private let length: UInt64

    /// Start of the first cluster that is not known about yet.
    package private(set) var position: UInt64
    /// Up to here, from `position` on, nothing is allocated: less than a cluster.
    private var end: UInt64

    /// What one query told.
    package enum Step: Equatable {
        /// The top layer doesn't hold these clusters.
        case unallocated(Range<UInt64>)
        /// It holds the cluster at hand.
        case allocated
        /// Nothing yet about a whole cluster.
        case unknown
    }

    /// - Parameter position: where to start, a multiple of the cluster size.
    package init(source: any BlockDevice, clusterSize: UInt64, from position: UInt64 = 0) {
        self.source = source
        self.position = position
        end = position
        self.clusterSize = clusterSize
        length = source.length
    }

    package var isFinished: Bool {
        position >= length
    }

    /// Asks the device once.
    ///
    /// - Throws: what the device throws; `position` then tells where, and the next call asks again.
    package mutating func step() async throws(BlockError) -> Step {
        let rest = length - end
        let extent = try await source.blockStatus(at: end, length: rest, in: .topLayer)
        // No device answers less than a byte; should one, it must not keep us here for ever.
        let answered = end + max(1, min(extent.length, rest))
        if extent.isAllocated {
            // What was gathered before is less than a cluster, and in the same cluster as the allocated byte.
            move(to: min(answered.alignedUp(to: clusterSize) ?? length, length))
            return .allocated
        }
        end = answered
        let known = end == length ? length : end.alignedDown(to: clusterSize)
        guard known > position else { return .unknown }
        let unallocated = position..<known
        move(to: known)
        return .unallocated(unallocated)
    }

    private mutating func move(to position: UInt64) {
        self.position = position
        end = position
    }
}
