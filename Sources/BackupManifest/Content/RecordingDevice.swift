// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
public import BlockIO

/// A target that digests what is written to it. Everything goes straight through.
public final class RecordingDevice: BlockDevice {
    private let target: any BlockDevice
    private let recorder: ContentRecorder

    /// Bytes that are read at a time of what is copied past this process.
    private static let readLength: UInt64 = 1 << 20

    public init(_ target: any BlockDevice, _ recorder: ContentRecorder) {
        self.target = target
        self.recorder = recorder
    }

    public var name: String { target.name }
    public var length: UInt64 { target.length }
    public var capabilities: DeviceCapabilities { target.capabilities }
    public var backing: (any BlockDevice)? { target.backing }

    public func clusterSize() async throws(BlockError) -> UInt64 {
        try await target.clusterSize()
    }

    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) async throws(BlockError) {
        try await target.read(at: offset, into: &buffer)
    }

    public func blockStatus(
        at offset: UInt64, length: UInt64, in scope: BlockStatusScope
    ) async throws(BlockError) -> BlockExtent {
        try await target.blockStatus(at: offset, length: length, in: scope)
    }

    public func write(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        try await target.write(at: offset, from: buffer)
        recorder.record(at: offset, buffer)
    }

    public func writeCompressed(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        try await target.writeCompressed(at: offset, from: buffer)
        recorder.record(at: offset, buffer)
    }

    public func writeZeroes(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try await target.writeZeroes(at: offset, length: length)
        recorder.recordZeroes(at: offset, length: length)
    }

    /// Reads what is copied, too: nothing else can tell later that it arrived.
    public func copyRange(from source: StorageLocation, to offset: UInt64, length: UInt64) async throws(BlockError) {
        try await target.copyRange(from: source, to: offset, length: length)
        var buffer = AlignedBuffer(count: Int(min(length, Self.readLength)))
        var position: UInt64 = 0
        while position < length {
            let count = Int(min(Self.readLength, length - position))
            var bytes = buffer.mutablePrefix(count)
            try await source.device.read(at: source.offset + position, into: &bytes)
            recorder.record(at: offset + position, buffer.prefix(count))
            position += UInt64(count)
        }
    }

    public func discard(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try await target.discard(at: offset, length: length)
        recorder.unsettle(offset, length)
    }

    public func flush() async throws(BlockError) {
        try await target.flush()
    }
}
