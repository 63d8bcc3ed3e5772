// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// A target that digests what is written to it. Everything goes straight through.
package final class RecordingDevice: DeviceWrapper {
    private let target: any BlockDevice
    private let recorder: ContentRecorder
    /// Of the read length, for what is copied past this process.
    private let buffers = Pool<AlignedBuffer>()

    /// Bytes that are read at a time of what is copied past this process.
    private static let readLength: UInt64 = 1 << 20

    package init(_ target: any BlockDevice, _ recorder: ContentRecorder) {
        self.target = target
        self.recorder = recorder
    }

    package var base: any BlockDevice { target }

    package func write(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        let digests = recorder.digests(at: offset, buffer)
        try await target.write(at: offset, from: buffer)
        recorder.record(at: offset, length: UInt64(buffer.byteCount), digests)
        try await recorder.spill()
    }

    package func write(_ pieces: [TransferPiece], from buffer: RawSpan) async throws(TransferError) {
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

    package func writeCompressed(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        let digests = recorder.digests(at: offset, buffer)
        try await target.writeCompressed(at: offset, from: buffer)
        recorder.record(at: offset, length: UInt64(buffer.byteCount), digests)
        try await recorder.spill()
    }

    package func writeZeroes(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try await target.writeZeroes(at: offset, length: length)
        recorder.recordZeroes(at: offset, length: length)
    }

    /// Reads what is copied, too: nothing else can tell later what arrived.
    ///
    /// What is shared is read once: of a source that stays as it is, which may be in the page cache, else of the target. What
    /// was copied is read on both sides: where they differ the copy is refused, and done through a buffer.
    package func copyRange(
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

    package func discard(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try await target.discard(at: offset, length: length)
        recorder.unsettle(offset, length)
    }
}
