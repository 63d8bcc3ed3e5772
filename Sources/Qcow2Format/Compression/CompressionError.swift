// SPDX-License-Identifier: GPL-2.0-or-later

/// Why the stored bytes of a compressed cluster don't give a cluster.
///
/// All lengths are in bytes. The caller knows where the cluster lies.
package enum CompressionError: Error, Sendable, Equatable {
    /// The stored bytes are no stream of the image's compression type.
    case invalidData(type: CompressionType, storedLength: Int)
    /// The stored bytes end before the stream does and before the cluster is full.
    case truncated(type: CompressionType, storedLength: Int)
    /// The stream ends before the cluster is full.
    case inflatesTooShort(length: Int, clusterLength: Int)
    /// The cluster is full and the stream goes on.
    case inflatesTooLong(clusterLength: Int)
    /// The library found no memory for its state.
    case outOfMemory(type: CompressionType)
}

extension CompressionError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .invalidData(let type, let storedLength):
            "invalid \(type.algorithm) data in \(storedLength) stored bytes"
        case .truncated(let type, let storedLength):
            "\(type.algorithm) data is cut off after \(storedLength) stored bytes"
        case .inflatesTooShort(let length, let clusterLength):
            "compressed data inflates to only \(length) bytes of a cluster of \(clusterLength)"
        case .inflatesTooLong(let clusterLength):
            "compressed data inflates to more than a cluster of \(clusterLength) bytes"
        case .outOfMemory(let type): "no memory for \(type.algorithm) decompression"
        }
    }
}

extension CompressionType {
    /// The name of what is stored, for messages: the zlib type holds deflate streams without zlib's wrapper.
    var algorithm: String {
        switch self {
        case .zlib: "deflate"
        case .zstd: "zstd"
        }
    }
}
