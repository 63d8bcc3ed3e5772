// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// Counts how often clusters could not be read, to know when to give one up.
struct SourceTries {
    /// Tries of a cluster on its own; `nil` for no limit.
    let limit: Int?
    /// In bytes.
    let clusterSize: UInt64
    /// Failed tries by the start of the cluster.
    private var failures: [UInt64: Int] = [:]

    init(limit: Int?, clusterSize: UInt64) {
        self.limit = limit
        self.clusterSize = clusterSize
    }

    /// The cluster, as a range of bytes, that is to be given up after this failure; `nil` to try again.
    mutating func giveUp(after failure: CopyError) -> Range<UInt64>? {
        guard let limit, failure.side == .source else { return nil }
        let start = failure.range.lowerBound.alignedDown(to: clusterSize)
        let end = start.adding(clusterSize) ?? .max
        // Of several clusters it isn't known which one is bad. They are tried one by one next.
        guard failure.range.upperBound <= end else { return nil }
        failures[start, default: 0] += 1
        guard failures[start, default: 0] >= limit else { return nil }
        failures[start] = nil
        return start..<end
    }
}
