// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

extension Qcow2Image {
    package func writeCompressed(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        guard dataFile == nil else { throw .unsupported(operation: "compressed writes", device: name) }
        try checkWrite(at: offset, length: UInt64(buffer.byteCount))
        let end = offset + UInt64(buffer.byteCount)
        guard offset.isAligned(to: geometry.clusterLength), end.isAligned(to: geometry.clusterLength) || end == length
        else { throw .unsupported(operation: "compressed writes of parts of clusters", device: name) }
        guard buffer.byteCount > 0 else { return }
        try await writes.withLock(clusters(at: offset, length: UInt64(buffer.byteCount))) {
            () async throws(BlockError) in
            try await compress(at: offset, from: buffer)
        }
    }

    /// Streams in a context's output that are waiting to be placed.
    private struct Batch {
        /// Guest offset of the first cluster; the others follow.
        var start: UInt64
        /// Bytes of each stream.
        var lengths: [Int] = []
        /// Bytes of all streams.
        var total = 0
    }

    private func compress(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        let clusterLength = Int(geometry.clusterLength)
        var context = try compressionContext()
        var batch = Batch(start: offset)
        // Clusters that don't shrink, waiting to be written plain, together.
        var plain = 0..<0
        var position = 0
        while position < buffer.byteCount {
            let end = min(position + clusterLength, buffer.byteCount)
            if batch.total + clusterLength > context.room {
                try await place(&batch, from: &context)
                batch.start = offset + UInt64(position)
            }
            let length =
                end - position == clusterLength
                ? context.compress(buffer.extracting(position..<end), at: batch.total)
                : context.compressPadded(buffer.extracting(position..<end), at: batch.total)
            if let length {
                if !plain.isEmpty {
                    try await writeData(at: offset + UInt64(plain.lowerBound), from: buffer.extracting(plain))
                    plain = 0..<0
                    batch.start = offset + UInt64(position)
                }
                batch.lengths.append(length)
                batch.total += length
            } else {
                try await place(&batch, from: &context)
                plain = plain.isEmpty ? position..<end : plain.lowerBound..<end
                batch.start = offset + UInt64(end)
            }
            position = end
        }
        try await place(&batch, from: &context)
        if !plain.isEmpty {
            try await writeData(at: offset + UInt64(plain.lowerBound), from: buffer.extracting(plain))
        }
        compressors.put(context)
    }

    private func compressionContext() throws(BlockError) -> CompressionContext {
        do throws(CompressionSettingsError) {
            return try compressors.take { () throws(CompressionSettingsError) in
                try CompressionContext(compression, clusterLength: Int(geometry.clusterLength))
            }
        } catch {
            throw failure(.option(name: "compression", rule: "\(error)"))
        }
    }

    /// Finds room for a batch, writes it and lets the L2 entries lead to it. The batch is empty then.
    private func place(_ batch: inout Batch, from context: inout CompressionContext) async throws(BlockError) {
        guard !batch.lengths.isEmpty else { return }
        let lengths = batch.lengths
        let offsets = try await metadata.changes.withLock { () async throws(BlockError) in
            try await metadata.allocateCompressed(lengths)
        }
        do throws(BlockError) {
            try await write(lengths, at: offsets, from: &context)
        } catch {
            try await abandon(lengths, at: offsets)
            throw error
        }
        let start = batch.start
        try await metadata.changes.withLock { () async throws(BlockError) in
            try await link(lengths, at: offsets, from: start)
        }
        batch.lengths.removeAll(keepingCapacity: true)
        batch.total = 0
    }

    /// Writes streams, as many at once as lie one behind the other.
    private func write(
        _ lengths: [Int], at offsets: [HostOffset], from context: inout CompressionContext
    ) async throws(BlockError) {
        var first = 0
        var source = 0
        while first < lengths.count {
            var next = first + 1
            var total = lengths[first]
            while next < lengths.count, offsets[next].bytes == offsets[first].bytes + UInt64(total) {
                total += lengths[next]
                next += 1
            }
            // The last page is filled up to its end, because the disk takes whole pages. Nothing else lies there: what
            // is placed next starts behind it.
            let alignment = min(file.preferredAlignment, geometry.clusterLength, UInt64(AlignedBuffer.alignment))
            let end = offsets[first].bytes + UInt64(total)
            let padding = next == lengths.count ? Int((end.alignedUp(to: alignment) ?? end) - end) : 0
            context.pad(at: source + total, count: padding)
            let bytes = context.streams(source..<source + total + padding)
            try await file.write(at: offsets[first].bytes, from: bytes)
            source += total
            first = next
        }
    }

    private func abandon(_ lengths: [Int], at offsets: [HostOffset]) async throws(BlockError) {
        try await metadata.changes.withLock { () async throws(BlockError) in
            for (length, offset) in zip(lengths, offsets) {
                try await metadata.release(offset: offset.bytes, length: UInt64(length))
            }
        }
    }

    private func link(
        _ lengths: [Int], at offsets: [HostOffset], from start: UInt64
    ) async throws(BlockError) {
        var guest = GuestOffset(start)
        // Streams that an entry leads to.
        var linked = 0
        do throws(BlockError) {
            for (length, offset) in zip(lengths, offsets) {
                let table = try await metadata.writableL2Table(of: guest)
                let old = try await metadata.entry(of: guest, in: table)
                let descriptor = CompressedClusterDescriptor(offset: offset, storedLength: UInt64(length))
                try await metadata.setEntry(
                    .init(entry: L2Entry(descriptor, clusterBits: geometry.clusterBits)), of: guest, in: table)
                linked += 1
                try await metadata.release(old)
                guest.bytes += geometry.clusterLength
            }
        } catch {
            for index in linked..<lengths.count {
                try await metadata.release(offset: offsets[index].bytes, length: UInt64(lengths[index]))
            }
            throw error
        }
    }
}
