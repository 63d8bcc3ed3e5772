// SPDX-License-Identifier: GPL-2.0-or-later

/// A device that passes requests on to another one, but for those that it is there to change.
///
/// What a wrapper doesn't implement goes to `base` as it is. Gathered pieces don't: unless it says otherwise, they come to
/// the wrapper one by one.
package protocol DeviceWrapper: BlockDevice {
    var base: any BlockDevice { get }
}

extension DeviceWrapper {
    package var name: String { base.name }
    package var length: UInt64 { base.length }
    package var capabilities: DeviceCapabilities { base.capabilities }
    package var backing: (any BlockDevice)? { base.backing }

    package func clusterSize() async throws(BlockError) -> UInt64 {
        try await base.clusterSize()
    }

    package func read(at offset: UInt64, into buffer: inout MutableRawSpan) async throws(BlockError) {
        try await base.read(at: offset, into: &buffer)
    }

    package func blockStatus(
        at offset: UInt64, length: UInt64, in scope: BlockStatusScope
    ) async throws(BlockError) -> BlockExtent {
        try await base.blockStatus(at: offset, length: length, in: scope)
    }

    package func write(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        try await base.write(at: offset, from: buffer)
    }

    package func writeCompressed(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        try await base.writeCompressed(at: offset, from: buffer)
    }

    package func writeZeroes(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try await base.writeZeroes(at: offset, length: length)
    }

    package func copyRange(
        from source: StorageLocation, to offset: UInt64, length: UInt64
    ) async throws(BlockError) -> RangeCopy {
        try await base.copyRange(from: source, to: offset, length: length)
    }

    package func discard(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try await base.discard(at: offset, length: length)
    }

    package func flush() async throws(BlockError) {
        try await base.flush()
    }
}

/// A wrapper of storage that is storage itself.
///
/// It gives no descriptor: calls past it would miss what it changes.
package protocol StorageWrapper: DeviceWrapper, Storage {
    var storage: any Storage { get }
}

extension StorageWrapper {
    package var base: any BlockDevice { storage }
    package var identity: StorageIdentity { storage.identity }
    package var isFixed: Bool { storage.isFixed }
    package var allocatedLength: UInt64? { storage.allocatedLength }
    package var stamp: FileStamp? { storage.stamp }
    package var lockWeakness: String? { storage.lockWeakness }
    package var isWrittenByOther: Bool { storage.isWrittenByOther }
    package var preferredAlignment: UInt64 { storage.preferredAlignment }

    package func resize(to length: UInt64) async throws(BlockError) {
        try await storage.resize(to: length)
    }

    package func close() throws(BlockError) {
        try storage.close()
    }
}
