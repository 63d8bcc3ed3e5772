// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import DirtyBitmaps

extension PersistentBitmaps {
    /// The bitmaps as they are going to be.
    struct Draft {
        struct Bitmap {
            var entry: BitmapDirectoryEntry
            /// New bits; `nil` where the stored ones stay.
            var bits: DirtyBitmap?
        }

        var bitmaps: [Bitmap]
        var origins: BitmapOrigins
        var marked: Set<[UInt8]>

        var entries: [BitmapDirectoryEntry] { bitmaps.map(\.entry) }
    }

    /// Makes changes, all of them or none, and makes them durable.
    ///
    /// - Throws: `BlockError`. Nothing has changed then, unless `isUncertain` says otherwise.
    package func apply(_ changes: [BitmapChange]) async throws(BlockError) {
        guard let metadata else { throw .readOnly(device: reader.file.name) }
        try await metadata.changes.withLock { () async throws(BlockError) in
            guard !isUncertain else {
                throw reader.failure(
                    .notWritable(reason: "an earlier change of its bitmaps failed half way: open it anew"))
            }
            try await commit(try await draft(after: changes), in: metadata)
        }
    }

    /// Checks that changes could be made, as far as the bitmaps as they are tell, without making them.
    ///
    /// - Throws: `BlockError`: what `apply` would refuse.
    package func check(_ changes: [BitmapChange]) async throws(BlockError) {
        _ = try await draft(after: changes)
    }

    private func draft(after changes: [BitmapChange]) async throws(BlockError) -> Draft {
        var draft = state.withLock { state in
            Draft(
                bitmaps: state.entries.map { Draft.Bitmap(entry: $0) }, origins: state.origins, marked: state.marked)
        }
        for change in changes {
            try await perform(change, on: &draft)
        }
        return draft
    }

    /// Whether a change failed in the moment in which it happens: it has happened or it hasn't, and no further one is
    /// possible before the image is opened anew.
    package var isUncertain: Bool { state.withLock { $0.isBroken } }

    private func perform(_ change: BitmapChange, on draft: inout Draft) async throws(BlockError) {
        switch change {
        case .add(let name, let granularity, let isRecording):
            draft.bitmaps.append(
                try newBitmap(named: name, granularity: granularity, isRecording: isRecording, in: draft))
            draft.origins[Array(name.utf8)] = nil
        case .remove(let name):
            let removed = draft.bitmaps.remove(at: try index(of: name, in: draft.entries))
            draft.marked.remove(removed.entry.nameBytes)
            draft.origins[removed.entry.nameBytes] = nil
        case .setOrigin(let name, let origin):
            draft.origins[draft.bitmaps[try usable(name, in: draft)].entry.nameBytes] = origin
        case .clear(let name):
            let index = try usable(name, in: draft)
            draft.origins[draft.bitmaps[index].entry.nameBytes] = nil
            draft.bitmaps[index].bits = reader.emptyBitmap(reader.shape(of: draft.bitmaps[index].entry))
        case .setRecording(let name, let isRecording):
            let index = try usable(name, in: draft)
            let wasRecording = draft.bitmaps[index].entry.flags.contains(.auto)
            // Whichever program undoes it: what was written in between is missing.
            if isRecording != wasRecording { draft.origins.noteDisabled(draft.bitmaps[index].entry.nameBytes) }
            if isRecording {
                draft.bitmaps[index].entry.flags.insert(.auto)
            } else {
                draft.bitmaps[index].entry.flags.remove(.auto)
            }
        case .merge(let sources, let name):
            let target = try usable(name, in: draft)
            let indices = try sources.map { (source) throws(BlockError) in try usable(source, in: draft) }
            for index in indices {
                try await merge(try await bits(of: draft.bitmaps[index]), into: target, of: &draft)
            }
        case .mergeBits(let bits, let name):
            let target = try usable(name, in: draft)
            try await merge(bits, into: target, of: &draft)
        case .store(let bits, let name):
            let index: Int
            if let own = try marked(name, in: draft) { index = own } else { index = try usable(name, in: draft) }
            try check(bits, against: draft.bitmaps[index].entry)
            draft.bitmaps[index].bits = bits
            unmark(index, in: &draft)
        case .markInUse(let name):
            let index = try usable(name, in: draft)
            draft.bitmaps[index].entry.flags.insert(.inUse)
            draft.marked.insert(draft.bitmaps[index].entry.nameBytes)
        case .unmarkInUse(let name):
            if let index = try marked(name, in: draft) { unmark(index, in: &draft) }
        }
    }

    private func newBitmap(
        named name: String, granularity: UInt64?, isRecording: Bool, in draft: Draft
    ) throws(BlockError) -> Draft.Bitmap {
        let clusterLength = reader.layout.geometry.clusterLength
        let granularity = granularity ?? DirtyBitmap.defaultGranularity(clusterSize: clusterLength)
        do throws(Qcow2Error.Problem) {
            guard !name.isEmpty else { throw .option(name: "bitmap", rule: "its name must not be empty") }
            guard name.utf8.count <= Qcow2Limits.bitmapNameLength else {
                throw .option(
                    name: "bitmap",
                    rule: "its name has \(name.utf8.count) bytes; at most \(Qcow2Limits.bitmapNameLength) are possible")
            }
            guard Self.index(of: name, in: draft.entries) == nil else { throw .bitmapExists(name) }
            guard granularity.nonzeroBitCount == 1 else {
                throw .option(name: "granularity", rule: "it is a power of two from 512 to 2G")
            }
            // A power of two has at most 63 zeroes behind its one.
            let entry = BitmapDirectoryEntry(
                nameBytes: Array(name.utf8), granularityBits: UInt8(granularity.trailingZeroBitCount),
                flags: isRecording ? .auto : [])
            try reader.shape(of: entry).validate()
            return Draft.Bitmap(entry: entry, bits: reader.emptyBitmap(reader.shape(of: entry)))
        } catch {
            throw reader.failure(error)
        }
    }

    /// The index of a bitmap that may be changed.
    private func usable(_ name: String, in draft: Draft) throws(BlockError) -> Int {
        let index = try index(of: name, in: draft.entries)
        if let defect = draft.bitmaps[index].entry.defect {
            throw reader.failure(.bitmapUnusable(name: name, defect))
        }
        return index
    }

    /// The index of a bitmap that was marked in use here; `nil` for others.
    private func marked(_ name: String, in draft: Draft) throws(BlockError) -> Int? {
        let index = try index(of: name, in: draft.entries)
        return draft.marked.contains(draft.bitmaps[index].entry.nameBytes) ? index : nil
    }

    private func unmark(_ index: Int, in draft: inout Draft) {
        draft.bitmaps[index].entry.flags.remove(.inUse)
        draft.marked.remove(draft.bitmaps[index].entry.nameBytes)
    }

    private func bits(of bitmap: Draft.Bitmap) async throws(BlockError) -> DirtyBitmap {
        if let bits = bitmap.bits { return bits }
        return try await reader.load(bitmap.entry)
    }

    private func merge(_ bits: DirtyBitmap, into target: Int, of draft: inout Draft) async throws(BlockError) {
        var merged = try await self.bits(of: draft.bitmaps[target])
        do throws(DirtyBitmapError) {
            try merged.merge(bits)
        } catch {
            throw reader.failure(.option(name: "merge", rule: "\(error)"))
        }
        draft.bitmaps[target].bits = merged
    }

    private func check(_ bits: DirtyBitmap, against entry: BitmapDirectoryEntry) throws(BlockError) {
        let shape = reader.shape(of: entry)
        guard bits.granularity == shape.granularity, bits.length == shape.diskLength else {
            throw reader.failure(
                entry.broken(
                    "bits of \(bits.granularity) bytes each, for a disk of \(bits.length) bytes, don't fit: it has "
                        + "\(shape.granularity) and \(shape.diskLength)"))
        }
    }
}
