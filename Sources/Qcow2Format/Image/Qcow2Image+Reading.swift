// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

extension Qcow2Image {
    package func read(at offset: UInt64, into buffer: inout MutableRawSpan) async throws(BlockError) {
        let count = buffer.byteCount
        try checkRange(at: offset, length: UInt64(count))
        guard count > 0 else { return }
        // A write to another part of a cluster may move it and leave its old place to whoever writes next.
        let ticket =
            isWritable ? await writes.acquire(clusters(at: offset, length: UInt64(count)), isShared: true) : nil
        defer { if let ticket { writes.release(ticket) } }
        try await readData(at: offset, into: &buffer)
    }

    /// Reads while the range's clusters are locked, or can't change.
    func readData(at offset: UInt64, into buffer: inout MutableRawSpan) async throws(BlockError) {
        let count = buffer.byteCount
        var done = 0
        while done < count {
            let runs = try await metadata.runs(
                at: GuestOffset(offset + UInt64(done)), length: UInt64(count - done))
            var index = 0
            while index < runs.count {
                let run = runs[index]
                // Runs lie in the buffer, so their lengths fit.
                if case .compressed = run.kind {
                    let next = runs[index...].firstIndex { !$0.isCompressed } ?? runs.count
                    let length = Int(runs[next - 1].end - run.guest.bytes)
                    var part = buffer.slice(done..<done + length)
                    try await readCompressed(runs[index..<next], into: &part)
                    done += length
                    index = next
                } else {
                    var part = buffer.slice(done..<done + Int(run.length))
                    try await readRun(run, into: &part)
                    done += Int(run.length)
                    index += 1
                }
            }
        }
    }

    private func readRun(_ run: ClusterRun, into buffer: inout MutableRawSpan) async throws(BlockError) {
        switch run.kind {
        case .unallocated: try await readBacking(at: run.guest, into: &buffer)
        case .zero: buffer.clear()
        case .data(let host):
            let fileLength = storage.length
            try checkStored(host, run: run, fileLength: fileLength)
            try await storage.readPadded(at: host.bytes, into: &buffer, fileLength: fileLength)
        case .compressed: preconditionFailure("compressed runs are read together")
        }
    }

    /// A file that ends before a cluster's data was cut off: reading zeroes there would hide that. Of the last cluster the
    /// file need not have all, and what is missing is zeroes.
    func checkStored(_ host: HostOffset, run: ClusterRun, fileLength: UInt64) throws(BlockError) {
        // The end of the file's last cluster. File lengths are below 2^63.
        let end = fileLength.alignedUp(to: geometry.clusterLength) ?? fileLength
        guard host.bytes > end || run.length > end - host.bytes else { return }
        let present = end - min(host.bytes, end)
        throw failure(
            .cluster(
                .dataCluster, guest: GuestOffset(run.guest.bytes + present), offset: host.bytes + present,
                rule: "reaches past the end of the file (\(fileLength) bytes): the image is truncated"))
    }

    /// Of compressed data the last sector need not be there as a whole.
    func checkStored(_ descriptor: CompressedClusterDescriptor, run: ClusterRun) throws(BlockError) {
        let fileLength = file.length
        guard descriptor.offset.bytes < fileLength else {
            throw failure(
                .cluster(
                    .compressedCluster, guest: run.guest, offset: descriptor.offset.bytes,
                    rule: "lies past the end of the file (\(fileLength) bytes): the image is truncated"))
        }
    }

    /// Reads what the image leaves to its backing file: zeroes where there is none, or where it ends.
    func readBacking(at guest: GuestOffset, into buffer: inout MutableRawSpan) async throws(BlockError) {
        let count = buffer.byteCount
        var share = 0
        if let backing, guest.bytes < backing.length {
            share = Int(min(UInt64(count), backing.length - guest.bytes))
            var part = buffer.slice(0..<share)
            try await backing.read(at: guest.bytes, into: &part)
        }
        if share < count {
            var rest = buffer.slice(share..<count)
            rest.clear()
        }
    }

    /// Reads compressed clusters that follow each other on the disk.
    private func readCompressed(
        _ runs: ArraySlice<ClusterRun>, into buffer: inout MutableRawSpan
    ) async throws(BlockError) {
        var context = try decompressionContext()
        var next = runs.startIndex
        var done = 0
        while next < runs.endIndex {
            let window = try await readWindow(runs[next...], with: &context)
            for run in runs[next..<window.endIndex] {
                var part = buffer.slice(done..<done + Int(run.length))
                try decompress(run, from: window.offset, stored: window.length, with: &context, into: &part)
                done += Int(run.length)
            }
            next = window.endIndex
        }
        decompression.put(context)
    }

    private func decompressionContext() throws(BlockError) -> DecompressionContext {
        do throws(CompressionError) {
            return try decompression.take { () throws(CompressionError) in
                try DecompressionContext(type: compressionType, clusterLength: Int(geometry.clusterLength))
            }
        } catch {
            throw failure(.compressedCluster(guest: GuestOffset(0), error))
        }
    }

    /// Reads the stored bytes of the first run and of those behind it that are stored close by, in one go.
    ///
    /// - Returns: index behind the last run that was read, where in the file its bytes start, and how many there are.
    private func readWindow(
        _ runs: ArraySlice<ClusterRun>, with context: inout DecompressionContext
    ) async throws(BlockError) -> (endIndex: Int, offset: UInt64, length: Int) {
        let fileLength = file.length
        var range: Range<UInt64>?
        var endIndex = runs.startIndex
        for run in runs {
            guard case .compressed(let descriptor) = run.kind else { break }
            let start = descriptor.offset.bytes
            try checkStored(descriptor, run: run)
            let end = min(start + descriptor.length, fileLength)
            if let before = range {
                guard start >= before.lowerBound, start <= before.upperBound,
                    max(end, before.upperBound) - before.lowerBound <= UInt64(DecompressionContext.window)
                else { break }
                range = before.lowerBound..<max(end, before.upperBound)
            } else {
                range = start..<end
            }
            endIndex += 1
        }
        // Whole pages, which the disk reads directly.
        let page = UInt64(AlignedBuffer.alignment)
        let start = range!.lowerBound.alignedDown(to: page)
        let stored = start..<min(range!.upperBound.alignedUp(to: page) ?? fileLength, fileLength)
        var target = context.stored.mutablePrefix(stored.count)
        try await file.read(at: stored.lowerBound, into: &target)
        return (endIndex, stored.lowerBound, stored.count)
    }

    private func decompress(
        _ run: ClusterRun, from windowOffset: UInt64, stored count: Int, with context: inout DecompressionContext,
        into buffer: inout MutableRawSpan
    ) throws(BlockError) {
        guard case .compressed(let descriptor) = run.kind else { return }
        let start = Int(descriptor.offset.bytes - windowOffset)
        let end = min(start + Int(descriptor.length), count)
        do throws(CompressionError) {
            if buffer.byteCount == Int(geometry.clusterLength) {
                try Self.decompress(context.stored, start..<end, &context.decompressor, into: &buffer)
            } else {
                try Self.decompress(context.stored, start..<end, &context.decompressor, into: &context.cluster)
                let inside = Int(run.guest.bytes & (geometry.clusterLength - 1))
                buffer.copy(context.cluster.bytes.extracting(inside..<inside + buffer.byteCount))
            }
        } catch {
            throw failure(.compressedCluster(guest: run.guest, error))
        }
    }

    private static func decompress(
        _ stored: borrowing AlignedBuffer, _ range: Range<Int>, _ decompressor: inout ClusterDecompressor,
        into cluster: inout MutableRawSpan
    ) throws(CompressionError) {
        try decompressor.decompress(stored.bytes.extracting(range), into: &cluster)
    }

    private static func decompress(
        _ stored: borrowing AlignedBuffer, _ range: Range<Int>, _ decompressor: inout ClusterDecompressor,
        into cluster: inout AlignedBuffer
    ) throws(CompressionError) {
        var bytes = cluster.mutableBytes
        try decompressor.decompress(stored.bytes.extracting(range), into: &bytes)
    }
}

extension ClusterRun {
    var isCompressed: Bool {
        if case .compressed = kind { true } else { false }
    }
}
