// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// The clusters of an image file that hold metadata, as they were when it was opened.
///
/// An entry that sends data there is a lie: reading would show metadata to the guest, and writing would destroy it.
struct MetadataClusters: Sendable {
    /// Runs of clusters in ascending order, apart from each other.
    private var runs: [Range<UInt64>] = []
    private let clusterBits: UInt64

    init(clusterBits: Int) {
        self.clusterBits = UInt64(clusterBits)
    }

    /// - Parameter ranges: byte ranges in the file, which may overlap.
    init(clusterBits: Int, ranges: [(offset: UInt64, length: UInt64)]) {
        self.init(clusterBits: clusterBits)
        let clusters = ranges.filter { $0.length > 0 }.map { clusterRange(offset: $0.offset, length: $0.length) }
        for run in clusters.sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = runs.last, run.lowerBound <= last.upperBound {
                runs[runs.count - 1] = last.lowerBound..<max(last.upperBound, run.upperBound)
            } else {
                runs.append(run)
            }
        }
    }

    /// The clusters that a byte range touches. The range ends below 2^63.
    private func clusterRange(offset: UInt64, length: UInt64) -> Range<UInt64> {
        offset >> clusterBits..<(offset + length - 1) >> clusterBits + 1
    }

    /// Offset of the first metadata cluster that a byte range touches.
    ///
    /// - Complexity: O(log n) in the number of runs.
    func firstOverlap(offset: UInt64, length: UInt64) -> UInt64? {
        let wanted = clusterRange(offset: offset, length: length)
        // First run that ends behind the start of what is wanted.
        var low = 0
        var high = runs.count
        while low < high {
            let middle = (low + high) / 2
            if runs[middle].upperBound <= wanted.lowerBound {
                low = middle + 1
            } else {
                high = middle
            }
        }
        guard low < runs.count, runs[low].lowerBound < wanted.upperBound else { return nil }
        return max(runs[low].lowerBound, wanted.lowerBound) << clusterBits
    }

    func contains(_ cluster: UInt64) -> Bool { firstOverlap(offset: cluster << clusterBits, length: 1) != nil }
}
