// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// A raw disk: the bytes of its storage, up to the next whole sector.
///
/// A guest sees a disk in sectors of 512 bytes, so a file of another length reads as zeroes up to the next one.
public final class SectorDisk: BlockDevice {
    /// Bytes in a sector.
    public static let sectorLength: UInt64 = 512

    public let storage: any StorageDevice
    public let length: UInt64

    /// - Throws: `BlockError.unsupported` for a length that leaves no room for the last sector.
    public init(_ storage: any StorageDevice) throws(BlockError) {
        guard let length = storage.length.alignedUp(to: Self.sectorLength) else {
            throw .unsupported(operation: "a length of \(storage.length) bytes", device: storage.name)
        }
        self.storage = storage
        self.length = length
    }

    public var name: String { storage.name }
    public var capabilities: DeviceCapabilities { storage.capabilities }

    /// How many of `length` bytes from `offset` on are stored.
    private func stored(at offset: UInt64, length: UInt64) -> UInt64 {
        let end = storage.length
        return offset < end ? min(length, end - offset) : 0
    }

    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) async throws(BlockError) {
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

    public func blockStatus(
        at offset: UInt64, length: UInt64, in scope: BlockStatusScope
    ) async throws(BlockError) -> BlockExtent {
        try checkRange(at: offset, length: length)
        let share = stored(at: offset, length: length)
        guard share > 0 else {
            return BlockExtent(length: length, isAllocated: true, readsAsZero: true)
        }
        return try await storage.blockStatus(at: offset, length: share, in: scope)
    }

    public func write(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        try await storage.write(at: offset, from: buffer)
    }

    public func writeZeroes(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try await storage.writeZeroes(at: offset, length: length)
    }

    public func copyRange(
        from source: StorageLocation, to offset: UInt64, length: UInt64
    ) async throws(BlockError) -> RangeCopy {
        try await storage.copyRange(from: source, to: offset, length: length)
    }

    public func discard(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try await storage.discard(at: offset, length: length)
    }

    public func flush() async throws(BlockError) {
        try await storage.flush()
    }
}
