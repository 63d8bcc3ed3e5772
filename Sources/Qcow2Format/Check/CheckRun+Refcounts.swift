// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// The refcounts on the disk, and comparing them with what was counted.
extension CheckRun {
    /// Notes what is wrong with the refcount table.
    func noteRefcountTable() {
        for (index, raw) in refcountTable.enumerated() where raw != 0 {
            let offset = raw & ~511
            let rule: String
            if raw & 511 != 0 {
                rule = "its entry has reserved bits set (\(hex(raw)))"
                if !offset.isAligned(to: clusterLength) || offset > UInt64(Int64.max) { unknownBlocks.insert(index) }
            } else if !offset.isAligned(to: clusterLength) {
                rule = "it is not aligned to a cluster"
                unknownBlocks.insert(index)
            } else if offset > UInt64(Int64.max) {
                rule = "no file is as long as that"
                unknownBlocks.insert(index)
            } else if offset >> clusterBits >= clusterCount {
                rule = "it lies behind the end of the file (\(reader.length) bytes)"
            } else {
                continue
            }
            needsRebuild = true
            log.note(.refcountStructure, "refcount block \(index)", at: offset, rule)
        }
    }

    /// The offset of a refcount block that counts as a use of its cluster; `nil` for none, and for impossible ones.
    func countedBlock(_ index: Int) -> UInt64? {
        let raw = refcountTable[index]
        guard raw != 0, raw & 511 == 0, raw.isAligned(to: clusterLength), raw >> clusterBits < clusterCount else {
            return nil
        }
        return raw
    }

    /// Counts refcount blocks. Each must be the only use of its cluster.
    func countBlocks(in window: inout ReferenceWindow) {
        for index in refcountTable.indices {
            guard let offset = countedBlock(index) else { continue }
            let cluster = offset >> clusterBits
            for position in window.indices(of: cluster..<cluster + 1) {
                window.add(1, at: position)
                guard window[position] != 1 else { continue }
                // It can't be changed where it is.
                needsRebuild = true
                // What is too much to count is told elsewhere.
                guard layout.refcounts.maximum > 1 || window[position] == 0 else { continue }
                log.note(
                    .refcountStructure, "refcount block \(index)", at: offset,
                    "its cluster has \(window[position]) uses instead of 1")
            }
        }
    }

    /// Notes which clusters have a refcount of 1.
    func readOnes(into window: inout ReferenceWindow, _ buffer: inout AlignedBuffer) async throws(BlockError) {
        let codec = layout.refcounts
        try await forEachBlock(of: window.clusters, &buffer) { (clusters, bytes, _) in
            guard let bytes else { return }
            let start = Int(clusters.lowerBound - window.first)
            if codec.order == 4 {
                for index in 0..<clusters.count
                where bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: index &* 2, as: UInt16.self) == 0x0100 {
                    window.setOne(start &+ index)
                }
            } else {
                for index in 0..<clusters.count where codec.value(in: bytes, at: index) == 1 {
                    window.setOne(start &+ index)
                }
            }
        }
    }

    /// Compares the refcounts of a window with the references.
    func compare(_ window: inout ReferenceWindow) async throws(BlockError) {
        var buffer = AlignedBuffer(count: Self.bufferLength)
        let codec = layout.refcounts
        let clusters = window.first..<min(window.clusters.upperBound, clusterCount)
        guard !clusters.isEmpty else { return }
        var runs = MismatchRuns(codec: codec, clusterBits: clusterBits)
        try await forEachBlock(of: clusters, &buffer) { (clusters, bytes, isUnknown) in
            let start = Int(clusters.lowerBound - window.first)
            // Refcounts of 16 bits that are right, as almost all are: looked at without being taken apart.
            let isUsual = codec.order == 4
            var last = -1
            for index in 0..<clusters.count {
                let count = window.counts[start &+ index]
                if isUsual, count != .max, let bytes,
                    bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: index &* 2, as: UInt16.self)
                        == UInt16(count).bigEndian
                {
                    if count != 0 { last = index }
                    continue
                }
                let stored = if let bytes { codec.value(in: bytes, at: index) } else { UInt64(0) }
                if stored | UInt64(count) == 0 { continue }
                if isUnknown { continue }
                last = index
                if stored == UInt64(count), count != .max { continue }
                let cluster = clusters.lowerBound + UInt64(index)
                if stored == 0, bytes == nil { needsRebuild = true }
                runs.note(cluster, stored: stored, references: window[start &+ index], in: &log)
            }
            runs.end(in: &log)
            if isUnknown {
                log.note(
                    .refcountStructure, .unchecked, "refcounts", at: clusters.lowerBound << clusterBits,
                    count: UInt64(clusters.count), "those of \(clusters.count) clusters can't be read")
            }
            if last >= 0 { lastCluster = max(lastCluster, clusters.lowerBound + UInt64(last)) }
        }
        try await noteLies(in: window)
    }

    /// Notes what the refcounts don't give away: metadata that entries take for data, counted as if that were right.
    private func noteLies(in window: ReferenceWindow) async throws(BlockError) {
        for cluster in lies.sorted() where window.clusters.contains(cluster) {
            let references = min(window[Int(cluster - window.first)], layout.refcounts.maximum)
            guard try await refcount(of: cluster) == references else { continue }
            log.note(
                .overlap, "cluster", at: cluster << clusterBits,
                "metadata lies there and something else too, which can't be")
        }
    }

    /// Reads the refcounts of a range of clusters that starts at a multiple of 64.
    ///
    /// - Parameter body: called with clusters, their refcounts, `nil` where all of them are 0, and whether they can't be
    ///   read.
    func forEachBlock(
        of clusters: Range<UInt64>, _ buffer: inout AlignedBuffer,
        _ body: (Range<UInt64>, RawSpan?, Bool) -> Void
    ) async throws(BlockError) {
        let bits = UInt64(layout.refcounts.bits)
        var next = clusters.lowerBound
        while next < clusters.upperBound {
            let index = next / refcountsPerBlock
            let end = min((index + 1) * refcountsPerBlock, clusters.upperBound)
            let part = next..<end
            next = end
            guard let offset = blockOffset(index) else {
                // Behind the table, there is nothing more to look for.
                let isUnknown = index < UInt64(refcountTable.count) && unknownBlocks.contains(Int(index))
                if index >= UInt64(refcountTable.count) { next = clusters.upperBound }
                body(part.lowerBound..<max(part.upperBound, next), nil, isUnknown)
                continue
            }
            // Below the cluster size: refcounts of a block.
            let inside = part.lowerBound % refcountsPerBlock * bits / 8
            let count = Int((UInt64(part.count) * bits + 7) / 8)
            let isRead = try await read(offset + inside, count, .refcountBlock, into: &buffer, &log)
            if isRead { body(part, buffer.prefix(count), false) } else { body(part, nil, true) }
        }
    }
}

/// Clusters whose refcount is wrong in the same way, one after the other: told in one line.
private struct MismatchRuns {
    let codec: RefcountCodec
    let clusterBits: UInt64
    private var first: UInt64 = 0
    private var count: UInt64 = 0
    private var stored: UInt64 = 0
    private var references: UInt64 = 0

    init(codec: RefcountCodec, clusterBits: UInt64) {
        self.codec = codec
        self.clusterBits = clusterBits
    }

    mutating func note(_ cluster: UInt64, stored: UInt64, references all: UInt64, in log: inout ProblemLog) {
        let references = min(all, codec.maximum)
        if all > references {
            log.note(
                .refcountOverflow, "cluster", at: cluster << clusterBits, count: all - references,
                "it has \(all) references, and refcounts of \(codec.bits) bits count to \(codec.maximum)")
        }
        guard stored != references else { return }
        if count > 0, cluster == first + count, stored == self.stored, references == self.references {
            count += 1
            return
        }
        end(in: &log)
        (first, count, self.stored, self.references) = (cluster, 1, stored, references)
    }

    mutating func end(in log: inout ProblemLog) {
        guard count > 0 else { return }
        let subject = count == 1 ? "cluster" : "\(count) clusters"
        if stored > references {
            log.note(
                .leak, .leak, subject, at: first << clusterBits, count: count,
                "refcount \(stored), \(references) references")
        } else {
            log.note(
                .refcountTooLow, subject, at: first << clusterBits, count: count,
                "refcount \(stored), \(references) references")
        }
        count = 0
    }
}
