// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

extension Qcow2Image {
    package func write(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        try checkWrite(at: offset, length: UInt64(buffer.byteCount))
        guard buffer.byteCount > 0 else { return }
        try await writes.withLock(clusters(at: offset, length: UInt64(buffer.byteCount))) {
            () async throws(BlockError) in
            try await writeData(at: offset, from: buffer)
        }
    }

    func checkWrite(at offset: UInt64, length: UInt64) throws(BlockError) {
        guard isWritable else { throw .readOnly(device: name) }
        try checkRange(at: offset, length: length)
    }

    /// The guest bytes of all clusters that a range touches.
    func clusters(at offset: UInt64, length: UInt64) -> Range<UInt64> {
        let end = offset + length
        return offset.alignedDown(to: geometry.clusterLength)..<(end.alignedUp(to: geometry.clusterLength) ?? .max)
    }

    /// Where a part of a write goes: clusters that follow each other on the disk and in the file.
    struct Placement {
        /// The part's first byte in the file.
        let host: HostOffset
        /// Bytes of the part.
        let length: UInt64
        /// Whether the clusters are new, so that the L2 entries must lead to them afterwards.
        let isNew: Bool
        /// Whether entries have to change: new clusters, or units that were not data.
        let needsEntries: Bool
        /// Guest bytes that must be filled so that no unit is data in part only: a superset of the part.
        let filled: Range<UInt64>
    }

    /// Writes while the range's clusters are locked.
    func writeData(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        var done = 0
        while done < buffer.byteCount {
            let start = offset + UInt64(done)
            let rest = UInt64(buffer.byteCount - done)
            let place = try await metadata.changes.withLock { () async throws(BlockError) in
                try await placeWrite(at: start, length: rest)
            }
            let part = buffer.extracting(done..<done + Int(place.length))
            do throws(BlockError) {
                try await fill(place.filled.lowerBound..<start, placed: place.host, of: start)
                try await storage.write(at: place.host.bytes, from: part)
                try await fill(start + place.length..<place.filled.upperBound, placed: place.host, of: start)
            } catch {
                try await abandon(place)
                throw error
            }
            if place.needsEntries {
                try await metadata.changes.withLock { () async throws(BlockError) in
                    try await link(place, at: start)
                }
            }
            done += Int(place.length)
        }
    }

    /// Copies up what a new unit shows around the bytes that are written.
    ///
    /// - Parameters:
    ///   - range: guest bytes, possibly none.
    ///   - host: where the guest byte `anchor` goes.
    func fill(_ range: Range<UInt64>, placed host: HostOffset, of anchor: UInt64) async throws(BlockError) {
        // A data file is as long as the disk; a cluster of the image file is whole.
        let range = dataFile == nil ? range : range.clamped(to: 0..<length)
        guard !range.isEmpty else { return }
        var buffer = AlignedBuffer(count: range.count)
        // Behind the disk's end there is nothing to show.
        let visible = range.lowerBound < length ? Int(min(range.upperBound, length) - range.lowerBound) : 0
        if visible > 0 {
            var bytes = buffer.mutablePrefix(visible)
            try await readData(at: range.lowerBound, into: &bytes)
        }
        if visible < range.count {
            var rest = buffer.mutableSlice(visible..<range.count)
            rest.clear()
        }
        // Both sums are right: the cluster holds the anchor and the range.
        try await storage.write(at: host.bytes &+ range.lowerBound &- anchor, from: buffer.bytes)
    }

    func placeWrite(at start: UInt64, length: UInt64) async throws(BlockError) -> Placement {
        let table = try await metadata.writableL2Table(of: GuestOffset(start))
        let first = try await metadata.entry(of: GuestOffset(start), in: table)
        let clusterLength = geometry.clusterLength
        let tableEnd = (start >> UInt64(geometry.l2CoverageBits) + 1) << UInt64(geometry.l2CoverageBits)
        let limit = min(start + length, tableEnd == 0 ? .max : tableEnd)
        var end = min(start.alignedDown(to: clusterLength) + clusterLength, limit)
        if let host = inPlace(first, at: start) {
            // Clusters that follow in the file as they do on the disk.
            var isData = unitsAreData(first, start..<end)
            while end < limit {
                let next = try await metadata.entry(of: GuestOffset(end), in: table)
                guard let nextHost = inPlace(next, at: end), nextHost.bytes == host.bytes + (end - start) else { break }
                let nextEnd = min(end + clusterLength, limit)
                isData = isData && unitsAreData(next, end..<nextEnd)
                end = nextEnd
            }
            let last = end == limit ? try await metadata.entry(of: GuestOffset(end - 1), in: table) : first
            let place = Placement(
                host: host, length: end - start, isNew: false, needsEntries: !isData,
                filled: inPlaceFill(start..<end, first: first, last: last))
            try await completeStorage(for: place, at: start)
            return place
        }
        while end < limit {
            let next = try await metadata.entry(of: GuestOffset(end), in: table)
            guard inPlace(next, at: end) == nil else { break }
            end = min(end + clusterLength, limit)
        }
        let last = try await metadata.entry(of: GuestOffset(end - 1), in: table)
        let covered = clusters(at: start, length: end - start)
        let place = try await allocateData(for: covered)
        let partEnd = min(end, covered.lowerBound + place.length)
        let lastEntry = partEnd == end ? last : first
        return Placement(
            host: HostOffset(place.host.bytes + start - covered.lowerBound), length: partEnd - start, isNew: true,
            needsEntries: true, filled: newFill(start..<partEnd, first: first, last: lastEntry))
    }

    /// Gives the storage what it lacks of its last cluster, where that is going to be changed.
    private func completeStorage(for place: Placement, at start: UInt64) async throws(BlockError) {
        let filled = dataFile == nil ? place.filled.upperBound : min(place.filled.upperBound, length)
        let end = place.host.bytes + (filled - start)
        if end > storage.length { try await storage.resize(to: end) }
    }

    /// Room for guest clusters, at least for the first of them.
    private func allocateData(
        for range: Range<UInt64>
    ) async throws(BlockError) -> (host: HostOffset, length: UInt64) {
        if metadata.layout.hasExternalDataFile {
            // A data file holds guest bytes at guest offsets.
            return (HostOffset(range.lowerBound), UInt64(range.count))
        }
        let bits = UInt64(geometry.clusterBits)
        let found = try await metadata.allocate(atMost: UInt64(range.count) >> bits)
        return (HostOffset(found.lowerBound << bits), UInt64(found.count) << bits)
    }

    /// Where a guest byte is stored, if its cluster may be changed in place.
    func inPlace(_ entry: Qcow2Metadata.Entry, at guest: UInt64) -> HostOffset? {
        guard !entry.entry.isCompressed, entry.entry.isCopied else { return nil }
        let host = entry.entry.hostOffset
        guard host.bytes != 0 || metadata.layout.hasExternalDataFile else { return nil }
        return HostOffset(host.bytes + guest & (geometry.clusterLength - 1))
    }

    /// The subclusters of a guest range, which lies in one cluster.
    private func units(_ range: Range<UInt64>) -> Range<Int> {
        let mask = geometry.clusterLength - 1
        let first = Int(range.lowerBound & mask) >> geometry.unitBits
        let last = Int((range.upperBound - 1) & mask) >> geometry.unitBits
        return first..<last + 1
    }

    private func isData(_ entry: Qcow2Metadata.Entry, at guest: UInt64) -> Bool {
        guard geometry.hasSubclusters else { return !entry.entry.isZero }
        return entry.bitmap.isAllocated(units(guest..<guest + 1).lowerBound)
    }

    private func unitsAreData(_ entry: Qcow2Metadata.Entry, _ range: Range<UInt64>) -> Bool {
        guard geometry.hasSubclusters else { return !entry.entry.isZero }
        return units(range).allSatisfy(entry.bitmap.isAllocated)
    }

    /// What to fill around a range in clusters that stay: whole units where they were not data.
    private func inPlaceFill(
        _ range: Range<UInt64>, first: Qcow2Metadata.Entry, last: Qcow2Metadata.Entry
    ) -> Range<UInt64> {
        let unit = geometry.unitLength
        let start = isData(first, at: range.lowerBound) ? range.lowerBound : range.lowerBound.alignedDown(to: unit)
        let end =
            isData(last, at: range.upperBound - 1)
            ? range.upperBound : (range.upperBound - 1).alignedDown(to: unit) + unit
        return start..<max(end, range.upperBound)
    }

    /// What to fill around a range in new clusters: whole units where nothing else of the cluster was stored, whole
    /// clusters where there was.
    private func newFill(
        _ range: Range<UInt64>, first: Qcow2Metadata.Entry, last: Qcow2Metadata.Entry
    ) -> Range<UInt64> {
        let start = range.lowerBound.alignedDown(to: isMoved(first) ? geometry.clusterLength : geometry.unitLength)
        let unit = isMoved(last) ? geometry.clusterLength : geometry.unitLength
        return start..<(range.upperBound - 1).alignedDown(to: unit) + unit
    }

    /// Whether a cluster that gets a new place had content of its own that must move along.
    private func isMoved(_ entry: Qcow2Metadata.Entry) -> Bool {
        entry.entry.isCompressed || entry.entry.hostOffset.bytes != 0
    }

    /// Lets the L2 entries lead to what has been written.
    func link(_ place: Placement, at start: UInt64) async throws(BlockError) {
        let clusterLength = geometry.clusterLength
        var cluster = start.alignedDown(to: clusterLength)
        let firstHost = place.host.bytes - (start - cluster)
        let firstCluster = cluster
        // Clusters before this one have been linked.
        var linkedEnd = cluster
        do throws(BlockError) {
            let table = try await metadata.writableL2Table(of: GuestOffset(start))
            while cluster < start + place.length {
                let old = try await metadata.entry(of: GuestOffset(cluster), in: table)
                let covered =
                    max(cluster, place.filled.lowerBound)..<min(cluster + clusterLength, place.filled.upperBound)
                var new = Qcow2Metadata.Entry(
                    entry: L2Entry(cluster: HostOffset(firstHost + cluster - firstCluster)), bitmap: old.bitmap)
                if geometry.hasSubclusters {
                    new.bitmap.setAllocated(units(covered))
                }
                try await metadata.setEntry(new, of: GuestOffset(cluster), in: table)
                cluster += clusterLength
                linkedEnd = cluster
                if place.isNew { try await metadata.release(old) }
            }
        } catch {
            let rest = start + place.length
            if place.isNew, dataFile == nil, linkedEnd < rest {
                try await metadata.release(offset: firstHost + linkedEnd - firstCluster, length: rest - linkedEnd)
            }
            throw error
        }
    }

    /// Gives back clusters that nothing leads to.
    func abandon(_ place: Placement) async throws(BlockError) {
        guard place.isNew, dataFile == nil else { return }
        try await metadata.changes.withLock { () async throws(BlockError) in
            try await metadata.release(offset: place.host.bytes, length: place.length)
        }
    }
}
