// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

extension L2Decoder {
    /// How many entries of an L2 table go on with a run as it began: the next host clusters, or again nothing or zero.
    ///
    /// The last cluster of the disk is not among them where it is short, nor is anything that breaks the format.
    ///
    /// - Parameters:
    ///   - run: ends where the first of the entries begins.
    ///   - bytes: a piece of the table.
    ///   - index: byte of the first entry in it.
    ///   - limit: number of entries to look at.
    func continuation(of run: ClusterRun, in bytes: [UInt8], at index: Int, limit: Int) -> Int {
        guard !geometry.hasSubclusters, limit > 0 else { return 0 }
        let first: UInt64
        var step: UInt64 = 0
        switch run.kind {
        case .unallocated: first = L2Entry.unallocated.rawValue
        case .zero(nil): first = L2Entry.zero.rawValue
        case .data(let host):
            // Both below 2^57. A run that begins inside a cluster ends at its end all the same.
            first = host.bytes + run.length
            step = geometry.clusterLength
        case .zero, .compressed: return 0
        }
        let count = Self.count(of: first, step: step, in: bytes, at: index, limit: limit)
        guard step > 0, count > 0, !hasExternalDataFile else { return count }
        let overlap = metadata.firstOverlap(offset: first, length: UInt64(count) * step)
        return overlap.map { Int(($0 - first) / step) } ?? count
    }

    private static func count(of first: UInt64, step: UInt64, in bytes: [UInt8], at index: Int, limit: Int) -> Int {
        guard first < Qcow2Limits.hostOffset else { return 0 }
        // In bounds: entries of 8 bytes divide a piece evenly, and `index` is that of an entry, or the end.
        let span = bytes.span.bytes
        let end = min(limit, (bytes.count - index) / 8)
        // Whether a data cluster is shared doesn't matter. Offset 0 is special, and can't follow another one.
        let mask = step > 0 ? ~L2Entry.copiedFlag : .max
        // At most 8192 clusters of 2 MiB on top of 2^56.
        let limit = Qcow2Limits.hostOffset
        var expected = first
        var count = 0
        while count < end, expected < limit {
            let entry = UInt64(
                bigEndian: span.unsafeLoadUnaligned(fromByteOffset: index + count * 8, as: UInt64.self))
            guard entry & mask == expected else { break }
            expected += step
            count += 1
        }
        return count
    }
}
