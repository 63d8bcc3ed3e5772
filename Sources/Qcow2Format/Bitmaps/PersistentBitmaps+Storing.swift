// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import DirtyBitmaps

/// Bringing bitmaps to the file. Everything here is called with `changes` held.
extension PersistentBitmaps {
    /// Bytes of bits that are written together, or a cluster where that is more.
    private static let pieceLength: UInt64 = 1 << 20

    private var clusterLength: UInt64 { reader.layout.geometry.clusterLength }
    private var clusterBits: UInt64 { UInt64(reader.layout.geometry.clusterBits) }

    /// Lets the image have the bitmaps of a draft.
    func commit(_ draft: Draft, in metadata: Qcow2Metadata) async throws(BlockError) {
        let (old, oldLocation, oldOrigins) = state.withLock { ($0.entries, $0.location, $0.origins) }
        guard
            draft.entries != old || draft.origins != oldOrigins || draft.bitmaps.contains(where: { $0.bits != nil })
        else { return }
        metadata.holdReleases()
        var new: [Range<UInt64>] = []
        var entries: [BitmapDirectoryEntry] = []
        let location: BitmapsExtension?
        let header: HeaderCluster
        let freed: Freed
        do throws(BlockError) {
            // What the first cluster has no room for is better known now.
            _ = try metadata.header(
                leadingTo: draft.bitmaps.isEmpty ? nil : .placeholder, countingSince: draft.origins)
            for var bitmap in draft.bitmaps {
                if let bits = bitmap.bits { try await store(bits, as: &bitmap.entry, in: metadata, noting: &new) }
                entries.append(bitmap.entry)
            }
            location = try await storeDirectory(entries, in: metadata, noting: &new)
            freed = try await clusters(of: old, at: oldLocation, notIn: entries)
            try await metadata.settleRefcounts()
            try await reader.file.flush()
            header = try metadata.header(leadingTo: location, countingSince: draft.origins)
        } catch {
            await abandon(new, in: metadata)
            throw error
        }
        do throws(BlockError) {
            try await metadata.commit(header)
        } catch {
            // The disk has the old header or the new one. What either of them leads to stays in use.
            state.withLock { $0.isBroken = true }
            throw error
        }
        state.withLock { state in
            state.entries = entries
            state.location = location
            state.origins = draft.origins
            state.marked = draft.marked
        }
        await giveBack(freed, in: metadata)
    }

    // MARK: Writing what is new

    /// Writes bits and their table to clusters of their own, and lets the entry lead there.
    private func store(
        _ bits: DirtyBitmap, as entry: inout BitmapDirectoryEntry, in metadata: Qcow2Metadata,
        noting new: inout [Range<UInt64>]
    ) async throws(BlockError) {
        let shape = reader.shape(of: entry)
        // The shape has been checked: 2^20 entries of 512 bytes at most.
        var table = [BitmapTableEntry](repeating: .zeroes, count: Int(shape.tableSize))
        var buffer = AlignedBuffer(count: Int(max(Self.pieceLength, clusterLength)))
        var index = 0
        while index < table.count, let dirty = bits.nextDirty(from: shape.range(ofEntry: index).lowerBound) {
            index = Int(dirty / shape.coverage)
            guard needsCluster(index, of: bits, shape) else {
                table[index] = .ones
                index += 1
                continue
            }
            var count = 1
            while index + count < table.count, (count + 1) << clusterBits <= buffer.count,
                needsCluster(index + count, of: bits, shape)
            {
                count += 1
            }
            let clusters = try await metadata.allocate(atMost: UInt64(count))
            new.append(clusters)
            let offset = clusters.lowerBound << clusterBits
            var target = buffer.mutablePrefix(clusters.count << Int(clusterBits))
            bits.copyBits(from: UInt64(index) * shape.bitsPerCluster, into: &target)
            try await reader.file.write(at: offset, from: buffer.prefix(clusters.count << Int(clusterBits)))
            for place in 0..<clusters.count {
                table[index + place] = .stored(HostOffset(offset + UInt64(place) << clusterBits))
            }
            index += clusters.count
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(table.count * 8)
        for entry in table { bytes.appendBigEndian(entry.rawValue) }
        entry.tableOffset = try await store(bytes, in: metadata, noting: &new)
        entry.tableSize = UInt32(table.count)
    }

    /// Whether the bits of a table entry are neither all clean nor all dirty. What the last entry has behind the disk's end
    /// is neither.
    private func needsCluster(_ index: Int, of bits: DirtyBitmap, _ shape: BitmapShape) -> Bool {
        let range = shape.range(ofEntry: index)
        guard bits.nextDirty(from: range.lowerBound, limit: range.upperBound) != nil else { return false }
        return UInt64(range.count) < shape.coverage
            || bits.nextClean(from: range.lowerBound, limit: range.upperBound) != nil
    }

    /// - Returns: `nil` for no bitmaps.
    private func storeDirectory(
        _ entries: [BitmapDirectoryEntry], in metadata: Qcow2Metadata, noting new: inout [Range<UInt64>]
    ) async throws(BlockError) -> BitmapsExtension? {
        guard !entries.isEmpty else { return nil }
        let bytes: [UInt8]
        do throws(Qcow2Error.Problem) {
            bytes = try BitmapDirectory.encode(entries)
        } catch {
            throw reader.failure(error)
        }
        let offset = try await store(bytes, in: metadata, noting: &new)
        return BitmapsExtension(
            count: UInt32(entries.count), directoryLength: UInt64(bytes.count), directoryOffset: offset)
    }

    /// Writes a table to clusters of its own that follow each other, filled up with zeroes.
    private func store(
        _ table: [UInt8], in metadata: Qcow2Metadata, noting new: inout [Range<UInt64>]
    ) async throws(BlockError) -> UInt64 {
        let count = UInt64(table.count).dividedRoundingUp(by: clusterLength)
        let first = try await metadata.allocate(exactly: count)
        new.append(first..<first + count)
        let bytes = table + [UInt8](repeating: 0, count: Int(count << clusterBits) - table.count)
        try await reader.file.write(at: first << clusterBits, from: bytes.span.bytes)
        return first << clusterBits
    }

    // MARK: Giving back what is old

    private struct Freed {
        var clusters: [Range<UInt64>] = []
        /// Names of bitmaps whose bits can't be found.
        var lost: [String] = []
    }

    /// What nothing leads to once the image has the new entries.
    private func clusters(
        of old: [BitmapDirectoryEntry], at location: BitmapsExtension?, notIn entries: [BitmapDirectoryEntry]
    ) async throws(BlockError) -> Freed {
        var freed = Freed()
        let kept = Set(entries.map(\.tableOffset))
        for entry in old where !kept.contains(entry.tableOffset) {
            let (uses, isComplete) = try await uses(entry)
            freed.clusters += uses.map(\.clusters)
            if !isComplete { freed.lost.append(entry.name) }
        }
        if let location { freed.clusters.append(use(location).clusters) }
        return freed
    }

    /// Gives clusters back. The change has happened: what fails now only leaks.
    private func giveBack(_ freed: Freed, in metadata: Qcow2Metadata) async {
        for name in freed.lost {
            warn("the table of bitmap '\(name)' is broken: the clusters of its bits leak")
        }
        do throws(BlockError) {
            try await release(freed.clusters, in: metadata)
            try await metadata.dropHeld()
            try await metadata.settleRefcounts()
            try await reader.file.flush()
        } catch {
            warn("clusters of old bitmaps could not be given back and leak: \(error)")
        }
    }

    /// Gives back what was written for a change that failed. Clusters that can't be given back leak.
    private func abandon(_ new: [Range<UInt64>], in metadata: Qcow2Metadata) async {
        do throws(BlockError) {
            try await release(new, in: metadata)
            // A refcount table that has moved must be what the header leads to before its old place is free.
            try await metadata.settleRefcounts()
            try await metadata.dropHeld()
            try await metadata.settleRefcounts()
            try await reader.file.flush()
        } catch {
            warn("clusters of a change that failed could not be given back and may leak: \(error)")
        }
    }

    private func release(_ clusters: [Range<UInt64>], in metadata: Qcow2Metadata) async throws(BlockError) {
        for range in clusters {
            try await metadata.release(
                offset: range.lowerBound << clusterBits, length: UInt64(range.count) << clusterBits)
        }
    }

    private func warn(_ text: String) {
        state.withLock { $0.warnings.append("\(reader.file.name): \(text)") }
    }
}
