// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// Changing the cluster mapping. Everything here is called with `changes` held.
extension Qcow2Metadata {
    /// An L2 entry with its subcluster bitmap.
    struct Entry: Equatable {
        var entry: L2Entry
        /// Without subclusters: empty.
        var bitmap = SubclusterBitmap()

        static let unallocated = Entry(entry: .unallocated)
    }

    /// The L2 table that maps a guest offset; `nil` where there is none yet.
    func l2Table(of guest: GuestOffset) throws(BlockError) -> HostOffset? {
        let index = geometry.l1Index(of: guest)
        return try checkedTable(L1Entry(rawValue: state.withLock { $0.l1[index] }), index: index)
    }

    /// The L2 table that maps a guest offset, made or unshared so that it can be changed in place.
    func writableL2Table(of guest: GuestOffset) async throws(BlockError) -> HostOffset {
        let index = geometry.l1Index(of: guest)
        let entry = L1Entry(rawValue: state.withLock { $0.l1[index] })
        let old = try checkedTable(entry, index: index)
        if let old, entry.isCopied { return old }
        let new = HostOffset(try await allocate(exactly: 1) << UInt64(geometry.clusterBits))
        do throws(BlockError) {
            if let old {
                // A snapshot uses the table too.
                for inside in stride(from: 0, to: geometry.clusterLength, by: Int(pieceLength)) {
                    let bytes = try await loadPiece(at: old.bytes + inside, of: .l2Table)
                    try await insertPiece(bytes, at: new.bytes + inside, isDirty: true)
                }
            } else {
                try await insertZeroTable(at: new)
            }
        } catch {
            try await release(offset: new.bytes, length: geometry.clusterLength)
            throw error
        }
        state.withLock { state in
            state.l1[index] = L1Entry(l2Table: new).rawValue
            state.isL1Dirty = true
        }
        if let old {
            try await release(offset: old.bytes, length: geometry.clusterLength)
        }
        return new
    }

    /// The entry of the cluster at a guest offset.
    func entry(of guest: GuestOffset, in table: HostOffset) async throws(BlockError) -> Entry {
        let (offset, index) = piece(of: entryPosition(in: table, of: guest))
        let bytes = try await loadPiece(at: offset, of: .l2Table)
        let (entry, bitmap) = Self.words(in: bytes, at: index, hasBitmap: geometry.hasSubclusters)
        // What is going to be relied on must keep the rules.
        do throws(Qcow2Error.Problem) {
            var runs: [ClusterRun] = []
            let start = guest.bytes.alignedDown(to: geometry.clusterLength)
            try decoder.appendRuns(
                of: start..<start + geometry.clusterLength, entry: entry, bitmap: bitmap, to: &runs)
        } catch {
            throw failure(error)
        }
        return Entry(entry: entry, bitmap: SubclusterBitmap(rawValue: bitmap))
    }

    func setEntry(_ value: Entry, of guest: GuestOffset, in table: HostOffset) async throws(BlockError) {
        let (offset, index) = piece(of: entryPosition(in: table, of: guest))
        let hasBitmap = geometry.hasSubclusters
        try await modifyPiece(at: offset, of: .l2Table) { bytes in
            bytes.storeBigEndian(value.entry.rawValue, at: index)
            if hasBitmap { bytes.storeBigEndian(value.bitmap.rawValue, at: index + 8) }
        }
    }

    /// Gives back the clusters that an entry used.
    func release(_ value: Entry) async throws(BlockError) {
        if value.entry.isCompressed {
            let descriptor = CompressedClusterDescriptor(value.entry, clusterBits: geometry.clusterBits)
            try await release(offset: descriptor.offset.bytes, length: descriptor.length)
        } else if value.entry.hostOffset.bytes != 0, !layout.hasExternalDataFile {
            try await release(offset: value.entry.hostOffset.bytes, length: geometry.clusterLength)
        }
    }
}
