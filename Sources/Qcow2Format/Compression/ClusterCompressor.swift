// SPDX-License-Identifier: GPL-2.0-or-later

/// Compresses clusters one by one, each into a stream of its own.
///
/// Everything that the library needs is allocated at the start, nothing for a cluster, so make one for each worker and
/// keep it. Owned by one place at a time, which the compiler checks, and free to move to another thread.
///
/// Spec: “Compressed Clusters Descriptor”.
package struct ClusterCompressor: ~Copyable, @unchecked Sendable {
    // Unchecked: an encoder is reachable through its compressor only, which has one owner.
    private let encoder: any ClusterEncoder

    package let settings: CompressionSettings
    /// Length in bytes of every cluster given to `compress`.
    package let clusterLength: Int

    /// - Parameter clusterSize: in bytes, a power of two of at most 2 MiB.
    /// - Throws: `levelOutOfRange`, `outOfMemory`.
    package init(_ settings: CompressionSettings, clusterSize: Int) throws(CompressionSettingsError) {
        precondition(
            clusterSize <= ClusterGeometry.maximumClusterLength && clusterSize > 0 && clusterSize.nonzeroBitCount == 1)
        try settings.validate()
        encoder = try Self.makeEncoder(settings, clusterLength: clusterSize)
        self.settings = settings
        clusterLength = clusterSize
    }

    private static func makeEncoder(
        _ settings: CompressionSettings, clusterLength: Int
    ) throws(CompressionSettingsError) -> any ClusterEncoder {
        switch settings.type {
        case .zstd: return try ZstdEncoder(level: settings.level, clusterLength: clusterLength)
        case .zlib:
            #if canImport(CISAL)
                if settings.level <= ISALEncoder.highestLevel { return ISALEncoder(level: settings.level) }
            #endif
            return try ZlibEncoder(level: settings.level)
        }
    }

    /// Compresses one cluster.
    ///
    /// - Parameters:
    ///   - cluster: exactly `clusterLength` bytes.
    ///   - output: where the stream goes. Bytes after the stream may be overwritten too.
    /// - Returns: the stream's length in bytes, or `nil` where it would not fit into `output` or not be shorter than
    ///   the cluster: store the cluster plain then.
    @_lifetime(output: copy output)
    package mutating func compress(_ cluster: RawSpan, into output: inout MutableRawSpan) -> Int? {
        precondition(cluster.byteCount == clusterLength)
        return cluster.withUnsafeBytes { input in
            output.withUnsafeMutableBytes { output in
                let room = min(output.count, clusterLength - 1)
                guard room > 0 else { return nil }
                return encoder.encode(input, into: UnsafeMutableRawBufferPointer(rebasing: output[..<room]))
            }
        }
    }
}

/// A compression library's state, reused for cluster after cluster.
protocol ClusterEncoder: AnyObject {
    /// Compresses all of `input`, which is not empty, into one stream.
    ///
    /// - Returns: the stream's length in bytes, `nil` where `output` is too small for it.
    func encode(_ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Int?
}
