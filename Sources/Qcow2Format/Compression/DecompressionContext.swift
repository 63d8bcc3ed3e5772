// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

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
