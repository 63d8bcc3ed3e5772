// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

extension Qcow2Image {
    /// How the image's own tables say that bytes are stored, from `offset` on.
    ///
    /// Unlike `blockStatus`, it looks at nothing below: data in a hole of the file is data, and what the image leaves to
    /// its backing file is unallocated, with a place where other parts of the same cluster are stored. Many extents are told at once, as many as one piece of an L2 table has.
    ///
    /// - Parameters:
    ///   - offset: in bytes.
    ///   - length: in bytes, more than 0; the range lies on the disk.
    /// - Returns: at least one extent; they follow each other without a gap and cover at most `length` bytes.
    /// - Throws: `BlockError.layer` with a `Qcow2Error` where a table breaks the format.
    package func mappedExtents(at offset: UInt64, length: UInt64) async throws(BlockError) -> [BlockExtent] {
        try checkRange(at: offset, length: length)
        guard length > 0 else {
            throw .outOfRange(device: name, offset: offset, length: length, deviceLength: self.length)
        }
        return try await metadata.runs(at: GuestOffset(offset), length: length).map(extent)
    }

    private func extent(_ run: ClusterRun) -> BlockExtent {
        switch run.kind {
        case .unallocated:
            BlockExtent(
                length: run.length, isAllocated: false, readsAsZero: backing == nil,
                location: run.room.map { StorageLocation(device: storage, offset: $0.bytes) })
        case .zero(let reserved):
            BlockExtent(
                length: run.length, isAllocated: true, readsAsZero: true,
                location: reserved.map { StorageLocation(device: storage, offset: $0.bytes) })
        case .data(let host):
            BlockExtent(
                length: run.length, isAllocated: true, readsAsZero: false,
                location: StorageLocation(device: storage, offset: host.bytes))
        case .compressed:
            BlockExtent(length: run.length, isAllocated: true, readsAsZero: false, isCompressed: true)
        }
    }
}
