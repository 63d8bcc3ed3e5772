// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// How a bitmap of a disk divides into bits, bytes, clusters and table entries.
///
/// Spec: “Bitmap table”, “Bitmap data”.
struct BitmapShape: Sendable, Equatable {
    /// Virtual size of the disk in bytes.
    let diskLength: UInt64
    /// Log2 of the bytes that a bit stands for, 9 to 31.
    let granularityBits: UInt8
    /// Bytes in a cluster.
    let clusterLength: UInt64

    var granularity: UInt64 { 1 << UInt64(granularityBits) }

    /// Number of bits.
    var bitCount: UInt64 { diskLength.dividedRoundingUp(by: granularity) }

    /// Bytes that hold the bits.
    var dataLength: UInt64 { bitCount.dividedRoundingUp(by: 8) }

    /// Entries of the bitmap table: clusters that the bits would fill.
    var tableSize: UInt64 { dataLength.dividedRoundingUp(by: clusterLength) }

    /// Bits in a cluster.
    var bitsPerCluster: UInt64 { clusterLength * 8 }

    /// Bytes of the disk that a cluster of bits stands for; at most 2^(24+31).
    var coverage: UInt64 { bitsPerCluster << UInt64(granularityBits) }

    /// Bytes of the disk that stand behind a table entry, cut off at its end.
    func range(ofEntry index: Int) -> Range<UInt64> {
        // Entries are counted from the disk's length, so their starts lie on it.
        let start = UInt64(index) * coverage
        return start..<min(start.adding(coverage) ?? .max, diskLength)
    }

    /// Bytes of bits in a table entry's cluster; fewer than a cluster in the last one.
    func usedLength(ofEntry index: Int) -> Int {
        Int(min(clusterLength, dataLength - UInt64(index) * clusterLength))
    }

    /// Checks that a new bitmap can have this shape.
    func validate() throws(Qcow2Error.Problem) {
        guard diskLength > 0 else { throw .option(name: "bitmap", rule: "a disk of no length can't have one") }
        guard Qcow2Limits.bitmapGranularityBits.contains(granularityBits) else {
            throw .option(name: "granularity", rule: "it is a power of two from 512 to 2G")
        }
        guard tableSize <= Qcow2Limits.bitmapTableSize, tableSize * clusterLength <= Qcow2Limits.bitmapLength else {
            throw .tooLarge(
                what: "the bitmap of \(dataLength) bytes",
                limit: "at most \(Qcow2Limits.bitmapLength) bytes; use a larger granularity")
        }
    }
}
