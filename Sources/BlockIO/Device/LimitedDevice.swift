// SPDX-License-Identifier: GPL-2.0-or-later

/// The first bytes of a longer device, as a device of its own. The rest stays as it is.
public final class LimitedDevice: StorageDevice {
    private let storage: any StorageDevice
    public let length: UInt64

    /// - Parameter length: in bytes, at most the device's.
    public init(_ storage: any StorageDevice, length: UInt64) {
        precondition(length <= storage.length)
        self.storage = storage
        self.length = length
    }

    public var name: String { storage.name }
    public var capabilities: DeviceCapabilities { storage.capabilities }
    public var preferredAlignment: UInt64 { storage.preferredAlignment }

    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) async throws(BlockError) {
        try checkRange(at: offset, length: UInt64(buffer.byteCount))
        try await storage.read(at: offset, into: &buffer)
    }

    public func blockStatus(
        at offset: UInt64, length: UInt64, in scope: BlockStatusScope
    ) async throws(BlockError) -> BlockExtent {
        try checkRange(at: offset, length: length)
        return try await storage.blockStatus(at: offset, length: length, in: scope)
    }

    public func write(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        try checkRange(at: offset, length: UInt64(buffer.byteCount))
        try await storage.write(at: offset, from: buffer)
    }

    public func writeZeroes(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try checkRange(at: offset, length: length)
        try await storage.writeZeroes(at: offset, length: length)
    }

    public func copyRange(
        from source: StorageLocation, to offset: UInt64, length: UInt64
    ) async throws(BlockError) -> RangeCopy {
        try checkRange(at: offset, length: length)
        return try await storage.copyRange(from: source, to: offset, length: length)
    }

    public func discard(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try checkRange(at: offset, length: length)
        try await storage.discard(at: offset, length: length)
    }

    public func flush() async throws(BlockError) {
        try await storage.flush()
    }

    public func resize(to length: UInt64) async throws(BlockError) {
        throw .unsupported(operation: "a change of its length", device: name)
    }
}
