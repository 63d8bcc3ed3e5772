// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// What a request needs to write compressed clusters.
struct CompressionContext: ~Copyable, Sendable {
    private var compressor: ClusterCompressor
    /// Streams, one behind the other.
    private var output: AlignedBuffer
    /// A last cluster that the disk's end cuts short, padded.
    private var padded: AlignedBuffer

    /// Bytes of streams that are placed and written together.
    private static let outputLength = 1 << 20

    init(_ settings: CompressionSettings, clusterLength: Int) throws(CompressionSettingsError) {
        compressor = try ClusterCompressor(settings, clusterSize: clusterLength)
        room = max(Self.outputLength, clusterLength)
        output = AlignedBuffer(count: room + AlignedBuffer.alignment)
        padded = AlignedBuffer(count: clusterLength)
    }

    /// Bytes that the streams may take together.
    let room: Int

    /// Compresses a cluster.
    ///
    /// - Parameter position: where in the output its stream starts.
    /// - Returns: the stream's length in bytes; `nil` where it is no shorter than the cluster.
    mutating func compress(_ cluster: RawSpan, at position: Int) -> Int? {
        Self.compress(cluster, with: &compressor, into: &output, at: position)
    }

    /// Compresses a part of a cluster, as if zeroes followed.
    mutating func compressPadded(_ part: RawSpan, at position: Int) -> Int? {
        var bytes = padded.mutableBytes
        bytes.clear()
        bytes.copy(part)
        return Self.compress(padded, with: &compressor, into: &output, at: position)
    }

    private static func compress(
        _ cluster: borrowing AlignedBuffer, with compressor: inout ClusterCompressor, into output: inout AlignedBuffer,
        at position: Int
    ) -> Int? {
        compress(cluster.bytes, with: &compressor, into: &output, at: position)
    }

    private static func compress(
        _ cluster: RawSpan, with compressor: inout ClusterCompressor, into output: inout AlignedBuffer,
        at position: Int
    ) -> Int? {
        var room = output.mutableSlice(position..<output.count)
        return compressor.compress(cluster, into: &room)
    }

    /// Puts zeroes behind the streams, less than a page of them.
    mutating func pad(at position: Int, count: Int) {
        var bytes = output.mutableSlice(position..<position + count)
        bytes.clear()
    }

    /// A range of the output.
    @_lifetime(borrow self)
    borrowing func streams(_ range: Range<Int>) -> RawSpan {
        output.bytes.extracting(range)
    }
}

/// What a request needs to read compressed clusters.
struct DecompressionContext: ~Copyable, Sendable {
    var decompressor: ClusterDecompressor
    /// Stored bytes of several clusters.
    var stored: AlignedBuffer
    /// A cluster that is wanted in part.
    var cluster: AlignedBuffer

    /// Stored bytes that are read at once, but for a cluster that needs more.
    static let window = 512 << 10

    init(type: CompressionType, clusterLength: Int) throws(CompressionError) {
        decompressor = try ClusterDecompressor(type: type, clusterSize: clusterLength)
        // A descriptor's sectors can name a little more than twice the cluster. Whole pages are read.
        stored = AlignedBuffer(
            count: max(Self.window, 2 * clusterLength + 1024) + 2 * AlignedBuffer.alignment)
        cluster = AlignedBuffer(count: clusterLength)
    }
}
