// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
public import BlockIO

extension Qcow2Image {
    public func writeZeroes(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try checkWrite(at: offset, length: length)
        guard length > 0 else { return }
        try await writes.withLock(clusters(at: offset, length: length)) { () async throws(BlockError) in
            try await zero(offset..<offset + length)
        }
    }

    public func discard(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try await writeZeroes(at: offset, length: length)
    }

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
        if try metadata.l2Table(of: guest) == nil {
            // Nothing shows through where nothing is.
            if backing == nil { return (end, false) }
            if metadata.layout.version < 3 { return (end, true) }
        } else if backing != nil, metadata.layout.version < 3 {
            return (end, true)
        }
        let table = try await metadata.writableL2Table(of: guest)
        var position = range.lowerBound
        while position < end {
            let cluster = position.alignedDown(to: geometry.clusterLength)
            let clusterEnd = min(cluster + geometry.clusterLength, end)
            try await zeroCluster(position..<clusterEnd, in: table)
            position = clusterEnd
        }
        return (end, false)
    }

    private func zeroCluster(_ range: Range<UInt64>, in table: HostOffset) async throws(BlockError) {
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
            if old.entry.isCompressed {
                let zeroes = [UInt8](repeating: 0, count: range.count)
                return try await rewriteCompressed(at: range.lowerBound, from: zeroes, in: table, old: old)
            }
            new = old
            let first = Int(range.lowerBound - cluster.bytes) >> geometry.unitBits
            let last = Int(range.upperBound - 1 - cluster.bytes) >> geometry.unitBits
            if backing == nil, old.entry.hostOffset.bytes == 0 {
                new.bitmap.setUnallocated(first..<last + 1)
            } else {
                new.bitmap.setZero(first..<last + 1)
            }
        }
        guard new != old else { return }
        try await metadata.setEntry(new, of: cluster, in: table)
        if isWhole { try await metadata.release(old) }
    }

    /// The entry of a cluster that reads as zeroes and takes no room.
    private func wholeZeroEntry(_ old: Qcow2Metadata.Entry) -> Qcow2Metadata.Entry {
        if old == .unallocated, backing == nil { return old }
        if geometry.hasSubclusters { return .init(entry: .unallocated, bitmap: .allZero) }
        // Version 2 has no zero clusters, and gets here without a backing file only.
        return metadata.layout.version < 3 ? .unallocated : .init(entry: .zero)
    }

    /// Stores a compressed cluster plain, with some of its bytes zeroed; called with `changes` held.
    private func rewriteCompressed(
        at start: UInt64, from zeroes: [UInt8], in table: HostOffset, old: Qcow2Metadata.Entry
    ) async throws(BlockError) {
        let cluster = start.alignedDown(to: geometry.clusterLength)
        let visible = Int(min(geometry.clusterLength, length - cluster))
        var buffer = AlignedBuffer(count: Int(geometry.clusterLength))
        var bytes = buffer.mutableBytes
        bytes.clear()
        var shown = buffer.mutablePrefix(visible)
        try await read(at: cluster, into: &shown)
        var target = buffer.mutableBytes
        target.copy(zeroes.span.bytes, at: Int(start - cluster))
        let host = HostOffset(try await metadata.allocate(exactly: 1) << UInt64(geometry.clusterBits))
        try await file.write(at: host.bytes, from: buffer.bytes)
        try await metadata.setEntry(
            .init(entry: L2Entry(cluster: host), bitmap: .allAllocated), of: GuestOffset(cluster), in: table)
        try await metadata.release(old)
    }
}
