// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

extension Qcow2Image {
    package func writeZeroes(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try checkWrite(at: offset, length: length)
        guard length > 0 else { return }
        try await writes.withLock(clusters(at: offset, length: length)) { () async throws(BlockError) in
            try await zero(offset..<offset + length)
        }
    }

    package func discard(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try await writeZeroes(at: offset, length: length)
    }

    /// Whether something may show through what is unallocated. The image's word counts, not what was opened with it.
    private var hasBacking: Bool { capabilities.hasBackingFile || backing != nil }

    /// Zeroes while the range's clusters are locked.
    private func zero(_ range: Range<UInt64>) async throws(BlockError) {
        let unit = geometry.unitLength
        // The disk's end completes its last unit: what lies behind is never shown.
        let end = range.upperBound == length ? range.upperBound : range.upperBound.alignedDown(to: unit)
        let start = range.lowerBound.alignedUp(to: unit) ?? end
        guard start < end else { return try await zeroBytes(range) }
        try await zeroBytes(range.lowerBound..<start)
        if let dataFile {
            try await dataFile.writeZeroes(at: start, length: end - start)
        }
        var position = start
        while position < end {
            let from = position
            let (next, needsBytes) = try await metadata.changes.withLock { () async throws(BlockError) in
                try await zeroUnits(from..<end)
            }
            if needsBytes { try await zeroBytes(from..<next) }
            position = next
        }
        try await zeroBytes(end..<range.upperBound)
    }

    /// Writes zeroes as data, unless the range, which lies in a few clusters, reads as zeroes already.
    private func zeroBytes(_ range: Range<UInt64>) async throws(BlockError) {
        guard !range.isEmpty else { return }
        var buffer = AlignedBuffer(count: Int(min(UInt64(range.count), max(geometry.clusterLength, 1 << 20))))
        var bytes = buffer.mutableBytes
        bytes.clear()
        var position = range.lowerBound
        while position < range.upperBound {
            let status = try await blockStatus(at: position, length: range.upperBound - position, in: .chain)
            let count = min(status.length, UInt64(buffer.count))
            if !status.readsAsZero {
                try await writeData(at: position, from: buffer.prefix(Int(count)))
            }
            position += count
        }
    }

    /// Makes whole units read as zeroes by their L2 entries; called with `changes` held.
    ///
    /// - Returns: how far it got, at most to the end of the L2 table, and whether that part needs zeroes as data because
    ///   the image's version has no other way to hide what lies in the backing file.
    private func zeroUnits(_ range: Range<UInt64>) async throws(BlockError) -> (end: UInt64, needsBytes: Bool) {
        let guest = GuestOffset(range.lowerBound)
        let nextTable = (range.lowerBound >> UInt64(geometry.l2CoverageBits) + 1) << UInt64(geometry.l2CoverageBits)
        let end = min(nextTable == 0 ? .max : nextTable, range.upperBound)
        if hasBacking {
            if metadata.layout.version < 3 { return (end, true) }
        } else if try metadata.l2Table(of: guest) == nil {
            // Nothing shows through where nothing is.
            return (end, false)
        }
        let table = try await metadata.writableL2Table(of: guest)
        var position = range.lowerBound
        while position < end {
            let cluster = position.alignedDown(to: geometry.clusterLength)
            let clusterEnd = min(cluster + geometry.clusterLength, end)
            guard try await zeroCluster(position..<clusterEnd, in: table) else {
                // What lies before it is done.
                return position > range.lowerBound ? (position, false) : (clusterEnd, true)
            }
            position = clusterEnd
        }
        return (end, false)
    }

    /// - Returns: whether that could be done; a part of a compressed cluster needs zeroes as data.
    private func zeroCluster(_ range: Range<UInt64>, in table: HostOffset) async throws(BlockError) -> Bool {
        let cluster = GuestOffset(range.lowerBound.alignedDown(to: geometry.clusterLength))
        let old = try await metadata.entry(of: cluster, in: table)
        let isWhole =
            range.lowerBound == cluster.bytes
            && (UInt64(range.count) == geometry.clusterLength || range.upperBound == length)
        var new: Qcow2Metadata.Entry
        if isWhole {
            new = wholeZeroEntry(old)
        } else {
            // Parts of a cluster are units of their own only with subclusters.
            if old.entry.isCompressed { return false }
            new = old
            let first = Int(range.lowerBound - cluster.bytes) >> geometry.unitBits
            let last = Int(range.upperBound - 1 - cluster.bytes) >> geometry.unitBits
            if !hasBacking, old.entry.hostOffset.bytes == 0 {
                new.bitmap.setUnallocated(first..<last + 1)
            } else {
                new.bitmap.setZero(first..<last + 1)
            }
        }
        guard new != old else { return true }
        try await metadata.setEntry(new, of: cluster, in: table)
        if isWhole { try await metadata.release(old) }
        return true
    }

    /// The entry of a cluster that reads as zeroes and takes no room.
    private func wholeZeroEntry(_ old: Qcow2Metadata.Entry) -> Qcow2Metadata.Entry {
        if old == .unallocated, !hasBacking { return old }
        if geometry.hasSubclusters { return .init(entry: .unallocated, bitmap: .allZero) }
        // Version 2 has no zero clusters, and gets here without a backing file only.
        return metadata.layout.version < 3 ? .unallocated : .init(entry: .zero)
    }
}
