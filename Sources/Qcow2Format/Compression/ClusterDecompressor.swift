// SPDX-License-Identifier: GPL-2.0-or-later

/// Decompresses clusters one by one.
///
/// The state is allocated at the start and reused, and its size does not depend on what is read. Owned by one place at
/// a time, which the compiler checks, and free to move to another thread.
///
/// Spec: “Compressed Clusters Descriptor”.
package struct ClusterDecompressor: ~Copyable, @unchecked Sendable {
    // Unchecked: a decoder is reachable through its decompressor only, which has one owner.
    private let decoder: any ClusterDecoder

    package let type: CompressionType
    /// Length in bytes of every cluster that `decompress` fills.
    package let clusterLength: Int

    /// - Parameter clusterSize: in bytes, a power of two of at most 2 MiB.
    /// - Throws: `outOfMemory`.
    package init(type: CompressionType, clusterSize: Int) throws(CompressionError) {
        precondition(
            clusterSize <= ClusterGeometry.maximumClusterLength && clusterSize > 0 && clusterSize.nonzeroBitCount == 1)
        decoder =
            switch type {
            case .zlib: try DeflateDecoder()
            case .zstd: try ZstdDecoder()
            }
        self.type = type
        clusterLength = clusterSize
    }

    /// Fills a cluster from its stored bytes.
    ///
    /// - Parameters:
    ///   - stored: the sectors that the cluster's descriptor names, as far as the file has them. What follows the
    ///     stream is not looked at.
    ///   - cluster: exactly `clusterLength` bytes. Undefined after an error.
    /// - Throws: `invalidData`, `truncated`, `inflatesTooShort`, `inflatesTooLong`, `outOfMemory`.
    @_lifetime(cluster: copy cluster)
    package mutating func decompress(
        _ stored: RawSpan, into cluster: inout MutableRawSpan
    ) throws(CompressionError) {
        precondition(cluster.byteCount == clusterLength)
        guard stored.byteCount > 0 else { throw .truncated(type: type, storedLength: 0) }
        try stored.withUnsafeBytes { stored throws(CompressionError) in
            try cluster.withUnsafeMutableBytes { cluster throws(CompressionError) in
                try decoder.decode(stored, into: cluster)
            }
        }
    }
}

/// A decompression library's state, reused for cluster after cluster.
protocol ClusterDecoder: AnyObject {
    /// Fills all of `cluster` from the start of `stored`; both hold at least one byte.
    func decode(
        _ stored: UnsafeRawBufferPointer, into cluster: UnsafeMutableRawBufferPointer
    ) throws(CompressionError)
}
