// SPDX-License-Identifier: GPL-2.0-or-later

public import BlockIO

/// A disk as a guest uses it: everything that changes it passes through here, and jobs can have their say first.
///
/// Writes, zero writes and discards each do the same: wait while the disk is drained, let every hook save what the range
/// held, and only then change the disk. A hook that fails fails the request, and the disk stays as it was. Reads pass.
public final class GuestDevice: BlockDevice {
    // Set at init.
    public let disk: any BlockDevice
    private let gate = GuestGate()

    public init(_ disk: any BlockDevice) {
        self.disk = disk
    }

    public var name: String { disk.name }
    public var length: UInt64 { disk.length }
    public var capabilities: DeviceCapabilities { disk.capabilities }

    // MARK: Jobs

    /// Waits until no request that changes the disk is in flight, and holds new ones until `endDrain`. Drains nest.
    public func beginDrain() async {
        await gate.beginDrain()
    }

    public func endDrain() {
        gate.endDrain()
    }

    /// Has `hook` asked before each change from now on. Under a drain, this is a point in time.
    func install(_ hook: any WriteHook) {
        gate.install(hook)
    }

    /// Has `hook` asked no more. It may still be busy with requests that it was asked about before.
    func remove(_ hook: any WriteHook) {
        gate.remove(hook)
    }

    private func change(
        _ offset: UInt64, _ length: UInt64, _ body: () async throws(BlockError) -> Void
    ) async throws(BlockError) {
        try checkRange(at: offset, length: length)
        let hooks = await gate.enter()
        defer { gate.leave() }
        if length > 0 {
            for hook in hooks { try await hook.beforeChange(of: offset..<offset + length) }
        }
        try await body()
    }

    // MARK: Requests

    public func clusterSize() async throws(BlockError) -> UInt64 {
        try await disk.clusterSize()
    }

    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) async throws(BlockError) {
        try await disk.read(at: offset, into: &buffer)
    }

    public func blockStatus(
        at offset: UInt64, length: UInt64, in scope: BlockStatusScope
    ) async throws(BlockError) -> BlockExtent {
        try await disk.blockStatus(at: offset, length: length, in: scope)
    }

    public func write(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        try await change(offset, UInt64(buffer.byteCount)) { () async throws(BlockError) in
            try await disk.write(at: offset, from: buffer)
        }
    }

    public func writeCompressed(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        try await change(offset, UInt64(buffer.byteCount)) { () async throws(BlockError) in
            try await disk.writeCompressed(at: offset, from: buffer)
        }
    }

    public func writeZeroes(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try await change(offset, length) { () async throws(BlockError) in
            try await disk.writeZeroes(at: offset, length: length)
        }
    }

    public func copyRange(from source: StorageLocation, to offset: UInt64, length: UInt64) async throws(BlockError) {
        try await change(offset, length) { () async throws(BlockError) in
            try await disk.copyRange(from: source, to: offset, length: length)
        }
    }

    public func discard(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try await change(offset, length) { () async throws(BlockError) in
            try await disk.discard(at: offset, length: length)
        }
    }

    public func flush() async throws(BlockError) {
        try await disk.flush()
    }
}
