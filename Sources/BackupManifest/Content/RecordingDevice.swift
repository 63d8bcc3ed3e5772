// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
public import BlockIO

/// A target that digests what is written to it. Everything goes straight through.
public final class RecordingDevice: BlockDevice {
    private let target: any BlockDevice
    private let recorder: ContentRecorder
    /// Of the read length, for what is copied past this process.
    private let buffers = Pool<AlignedBuffer>()

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
        let digests = recorder.digests(at: offset, buffer)
        try await target.write(at: offset, from: buffer)
        recorder.record(at: offset, length: UInt64(buffer.byteCount), digests)
        try await recorder.spill()
    }

    public func write(_ pieces: [TransferPiece], from buffer: RawSpan) async throws(TransferError) {
        let digests = pieces.map { recorder.digests(at: $0.offset, buffer.extracting($0.slice)) }
        var failure: TransferError?
        do throws(TransferError) { try await target.write(pieces, from: buffer) } catch { failure = error }
        for (piece, digests) in zip(pieces, digests).prefix(failure?.index ?? pieces.count) {
            recorder.record(at: piece.offset, length: UInt64(piece.slice.count), digests)
        }
        if let failure { throw failure }
        do throws(BlockError) {
            try await recorder.spill()
        } catch {
            throw TransferError(index: max(pieces.count, 1) - 1, underlying: error)
        }
    }

    public func writeCompressed(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        let digests = recorder.digests(at: offset, buffer)
        try await target.writeCompressed(at: offset, from: buffer)
        recorder.record(at: offset, length: UInt64(buffer.byteCount), digests)
        try await recorder.spill()
    }

    public func writeZeroes(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try await target.writeZeroes(at: offset, length: length)
        recorder.recordZeroes(at: offset, length: length)
    }

    /// Reads what is copied, too: nothing else can tell later what arrived.
    ///
    /// What is shared is read once: of a source that stays as it is, which may be in the page cache, else of the target. What
    /// was copied is read on both sides: where they differ the copy is refused, and done through a buffer.
    public func copyRange(
        from source: StorageLocation, to offset: UInt64, length: UInt64
    ) async throws(BlockError) -> RangeCopy {
        let stamp = source.device.stamp
        let way = try await target.copyRange(from: source, to: offset, length: length)
        var position: UInt64 = 0
        while position < length {
            // At most the read length.
            let count = Int(min(Self.readLength, length - position))
            let place = StorageLocation(device: source.device, offset: source.offset + position)
            switch way {
            case .shared: try await recordShared(place, at: offset + position, count)
            case .copied: try await recordCopied(place, at: offset + position, count)
            }
            position += UInt64(count)
        }
        // Somebody who knows no locks may have written to it: then what arrived is read at the end.
        if way == .shared, source.device.stamp != stamp { recorder.unsettle(offset, length) }
        try await recorder.spill()
        return way
    }

    private func recordShared(_ source: StorageLocation, at offset: UInt64, _ count: Int) async throws(BlockError) {
        var content = buffers.take { AlignedBuffer(count: Int(Self.readLength)) }
        var bytes = content.mutablePrefix(count)
        if source.device.capabilities.isSteady {
            try await source.device.read(at: source.offset, into: &bytes)
        } else {
            try await target.read(at: offset, into: &bytes)
        }
        recorder.record(at: offset, content.prefix(count))
        buffers.put(content)
    }

    private func recordCopied(_ source: StorageLocation, at offset: UInt64, _ count: Int) async throws(BlockError) {
        var sent = buffers.take { AlignedBuffer(count: Int(Self.readLength)) }
        var arrived = buffers.take { AlignedBuffer(count: Int(Self.readLength)) }
        var bytes = sent.mutablePrefix(count)
        try await source.device.read(at: source.offset, into: &bytes)
        bytes = arrived.mutablePrefix(count)
        try await target.read(at: offset, into: &bytes)
        guard sent.prefix(count).firstDifference(from: arrived.prefix(count)) == nil else {
            throw .unsupported(operation: "copying what changes meanwhile", device: source.device.name)
        }
        recorder.record(at: offset, arrived.prefix(count))
        buffers.put(sent)
        buffers.put(arrived)
    }

    public func discard(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try await target.discard(at: offset, length: length)
        recorder.unsettle(offset, length)
    }

    public func flush() async throws(BlockError) {
        try await target.flush()
    }
}
