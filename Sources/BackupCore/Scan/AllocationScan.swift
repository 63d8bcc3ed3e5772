// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// Finds the clusters that the top layer of a disk does not hold, front to back.
///
/// A cluster is held once any byte of it is. Only whole clusters are ever reported as not held, so an unallocated run is
/// added to until it fills a cluster or an allocated byte shows up. Explicit zeroes are held: they hide what is below.
/// Each answer of the device is used whole, so the cost is that of the device's own walk.
struct AllocationScan {
    let source: any BlockDevice
    /// Bytes in a cluster, a power of two.
    let clusterSize: UInt64
    /// Length of the disk in bytes.
    let length: UInt64

    /// Start of the first cluster that is not known about yet.
    private(set) var position: UInt64

    /// - Parameter position: where to start, a multiple of the cluster size.
    init(source: any BlockDevice, clusterSize: UInt64, from position: UInt64 = 0) {
        self.source = source
        self.position = position
        self.clusterSize = clusterSize
        length = source.length
    }

    var isFinished: Bool {
        position >= length
    }

    /// Goes on by a run of clusters, and returns it where the top layer doesn't hold it. Asks the device as often as it
    /// takes to know about one cluster.
    ///
    /// - Throws: what the device throws; `position` then tells where, and the next call asks again.
    mutating func next() async throws(BlockError) -> Range<UInt64>? {
        let start = position
        var end = start
        // `end - start` bytes are known to be unallocated.
        while true {
            let rest = length - end
            let extent = try await source.blockStatus(at: end, length: rest, in: .topLayer)
            // No device answers less than a byte; should one, it must not keep us here for ever.
            let answered = end + max(1, min(extent.length, rest))
            if extent.isAllocated {
                position = min(answered.alignedUp(to: clusterSize) ?? length, length)
                // What was gathered before is less than a cluster, and in the same cluster as the allocated byte.
                return nil
            }
            end = answered
            if end == length {
                position = length
                return start..<length
            }
            if end - start >= clusterSize {
                position = end.alignedDown(to: clusterSize)
                return start..<position
            }
        }
    }
}
