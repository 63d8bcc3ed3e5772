// SPDX-License-Identifier: GPL-2.0-or-later

import TestSupport

/// Content and layout of a random source disk.
struct TestImage {
    var bytes: [UInt8]
    var layout: [TestDisk.Stretch]

    /// Stretches of odd lengths, with zero runs inside the data too.
    init(length: Int, seed: UInt64) {
        var random = SeededRandom(seed: seed)
        bytes = [UInt8](repeating: 0, count: length)
        layout = []
        var position = 0
        while position < length {
            let longest = [700, 5000, 70_000, 300_000, 1_500_000].randomElement(using: &random)!
            let count = min(Int.random(in: 1...longest, using: &random), length - position)
            let kind = TestDisk.Kind.allCases.randomElement(using: &random)!
            layout.append(TestDisk.Stretch(length: UInt64(count), kind: kind))
            if !kind.readsAsZero { fill(position..<position + count, using: &random) }
            position += count
        }
    }

    private mutating func fill(_ range: Range<Int>, using random: inout SeededRandom) {
        var position = range.lowerBound
        while position < range.upperBound {
            let end = min(position + Int.random(in: 1...150_000, using: &random), range.upperBound)
            // Data that happens to be zero, as disks are full of.
            if Int.random(in: 0..<4, using: &random) != 0 {
                let byte = UInt8.random(in: 1...255, using: &random)
                bytes.withUnsafeMutableBytes { bytes in
                    // Another byte in each half kilobyte, so that misplaced data shows.
                    for start in stride(from: position, to: end, by: 512) {
                        let mark = byte &+ UInt8(truncatingIfNeeded: start >> 9) | 1
                        _ = bytes[start..<min(start + 512, end)].initializeMemory(as: UInt8.self, repeating: mark)
                    }
                }
            }
            position = end
        }
    }

    /// Bytes that the top layer holds.
    var allocatedRanges: [Range<UInt64>] {
        var start: UInt64 = 0
        return layout.compactMap { stretch in
            defer { start += stretch.length }
            return stretch.kind.isAllocated ? start..<start + stretch.length : nil
        }
    }

    /// Clusters of which the top layer holds at least a byte.
    func allocatedClusters(of clusterSize: UInt64) -> Set<UInt64> {
        var clusters: Set<UInt64> = []
        var start: UInt64 = 0
        for stretch in layout {
            if stretch.kind.isAllocated {
                for cluster in start / clusterSize...(start + stretch.length - 1) / clusterSize {
                    clusters.insert(cluster)
                }
            }
            start += stretch.length
        }
        return clusters
    }
}
