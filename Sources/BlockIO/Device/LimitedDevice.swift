// SPDX-License-Identifier: GPL-2.0-or-later

/// The first bytes of a longer device, as a device of its own. The rest stays as it is.
package final class LimitedDevice: StorageWrapper {
    package let storage: any Storage
    package let length: UInt64

    /// - Parameter length: in bytes, at most the device's.
    package init(_ storage: any Storage, length: UInt64) {
        precondition(length <= storage.length)
        self.storage = storage
        self.length = length
    }

    package func read(at offset: UInt64, into buffer: inout MutableRawSpan) async throws(BlockError) {
        try checkRange(at: offset, length: UInt64(buffer.byteCount))
        try await storage.read(at: offset, into: &buffer)
    }

    package func blockStatus(
        at offset: UInt64, length: UInt64, in scope: BlockStatusScope
    ) async throws(BlockError) -> BlockExtent {
        try checkRange(at: offset, length: length)
        return try await storage.blockStatus(at: offset, length: length, in: scope)
    }

    package func write(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        try checkRange(at: offset, length: UInt64(buffer.byteCount))
        try await storage.write(at: offset, from: buffer)
    }

    package func writeZeroes(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try checkRange(at: offset, length: length)
        try await storage.writeZeroes(at: offset, length: length)
    }

    package func copyRange(
        from source: StorageLocation, to offset: UInt64, length: UInt64
    ) async throws(BlockError) -> RangeCopy {
        try checkRange(at: offset, length: length)
        return try await storage.copyRange(from: source, to: offset, length: length)
    }

    package func discard(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try checkRange(at: offset, length: length)
        try await storage.discard(at: offset, length: length)
    }

    package func resize(to length: UInt64) async throws(BlockError) {
        throw .unsupported(operation: "a change of its length", device: name)
    }
}
