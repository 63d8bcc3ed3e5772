// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// A raw disk: the bytes of its storage, up to the next whole sector.
///
/// A guest sees a disk in sectors of 512 bytes, so a file of another length reads as zeroes up to the next one.
package final class SectorDisk: DeviceWrapper {
    /// Bytes in a sector.
    package static let sectorLength: UInt64 = 512

    package let storage: any Storage
    package let length: UInt64

    /// - Throws: `BlockError.unsupported` for a length that leaves no room for the last sector.
    package init(_ storage: any Storage) throws(BlockError) {
        guard let length = storage.length.alignedUp(to: Self.sectorLength) else {
            throw .unsupported(operation: "a length of \(storage.length) bytes", device: storage.name)
        }
        self.storage = storage
        self.length = length
    }

    package var base: any BlockDevice { storage }

    /// How many of `length` bytes from `offset` on are stored.
    private func stored(at offset: UInt64, length: UInt64) -> UInt64 {
        let end = storage.length
        return offset < end ? min(length, end - offset) : 0
    }

    package func read(at offset: UInt64, into buffer: inout MutableRawSpan) async throws(BlockError) {
        let count = buffer.byteCount
        try checkRange(at: offset, length: UInt64(count))
        let share = Int(stored(at: offset, length: UInt64(count)))
        if share == count {
            return try await storage.read(at: offset, into: &buffer)
        }
        if share > 0 {
            var part = buffer.slice(0..<share)
            try await storage.read(at: offset, into: &part)
        }
        var rest = buffer.slice(share..<count)
        rest.clear()
    }

    package func blockStatus(
        at offset: UInt64, length: UInt64, in scope: BlockStatusScope
    ) async throws(BlockError) -> BlockExtent {
        try checkRange(at: offset, length: length)
        let share = stored(at: offset, length: length)
        guard share > 0 else {
            return BlockExtent(length: length, isAllocated: true, readsAsZero: true)
        }
        return try await storage.blockStatus(at: offset, length: share, in: scope)
    }
}
