// SPDX-License-Identifier: GPL-2.0-or-later

import CDeflate
import CZlib

/// Reads raw deflate: libdeflate for speed, and zlib has the last word where libdeflate fails.
///
/// libdeflate wants the stream's end. Images exist in which the stored bytes end exactly where the cluster is full, and
/// zlib also tells what is wrong.
final class DeflateDecoder: ClusterDecoder {
    /// Negative: no zlib header. Wider than the 4 KiB that writers keep to, because a decoder with the whole cluster at
    /// hand follows longer distances at no cost, and so do other readers.
    private static let windowBits: Int32 = -15

    private let fast: OpaquePointer
    // On the heap because zlib keeps the address.
    private let stream: UnsafeMutablePointer<z_stream>

    /// - Throws: `outOfMemory`.
    init() throws(CompressionError) {
        guard let fast = libdeflate_alloc_decompressor() else { throw .outOfMemory(type: .zlib) }
        let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        stream.initialize(to: z_stream())
        let result = inflateInit2_(stream, Self.windowBits, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
        guard result == Z_OK else {
            stream.deallocate()
            libdeflate_free_decompressor(fast)
            throw .outOfMemory(type: .zlib)
        }
        self.fast = fast
        self.stream = stream
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
        libdeflate_free_decompressor(fast)
    }

    func decode(
        _ stored: UnsafeRawBufferPointer, into cluster: UnsafeMutableRawBufferPointer
    ) throws(CompressionError) {
        var consumed = 0
        var produced = 0
        let result = libdeflate_deflate_decompress_ex(
            fast, stored.baseAddress, stored.count, cluster.baseAddress, cluster.count, &consumed, &produced)
        guard result == LIBDEFLATE_SUCCESS else { return try decodeCarefully(stored, into: cluster) }
        guard produced == cluster.count else {
            throw .inflatesTooShort(length: produced, clusterLength: cluster.count)
        }
    }

    private func decodeCarefully(
        _ stored: UnsafeRawBufferPointer, into cluster: UnsafeMutableRawBufferPointer
    ) throws(CompressionError) {
        guard inflateReset(stream) == Z_OK else { throw .outOfMemory(type: .zlib) }
        // zlib's structure lacks `const`; it only reads the input.
        stream.pointee.next_in = UnsafeMutableRawPointer(mutating: stored.baseAddress)?
            .assumingMemoryBound(to: UInt8.self)
        // A descriptor names fewer than 2^32 bytes; what lies beyond that can't belong to a cluster.
        stream.pointee.avail_in = UInt32(clamping: stored.count)
        stream.pointee.next_out = cluster.baseAddress?.assumingMemoryBound(to: UInt8.self)
        stream.pointee.avail_out = UInt32(cluster.count)

        let result = inflate(stream, Z_FINISH)
        let produced = cluster.count - Int(stream.pointee.avail_out)
        switch result {
        case Z_STREAM_END where produced == cluster.count: return
        case Z_STREAM_END: throw .inflatesTooShort(length: produced, clusterLength: cluster.count)
        case Z_BUF_ERROR where produced < cluster.count: throw .truncated(type: .zlib, storedLength: stored.count)
        case Z_BUF_ERROR, Z_OK: try endAfterFullCluster(storedLength: stored.count, clusterLength: cluster.count)
        case Z_MEM_ERROR: throw .outOfMemory(type: .zlib)
        default: throw .invalidData(type: .zlib, storedLength: stored.count)
        }
    }

    /// The cluster is full and the stream's end was not seen: looks whether another byte would come.
    private func endAfterFullCluster(storedLength: Int, clusterLength: Int) throws(CompressionError) {
        var surplus: UInt8 = 0
        let (result, isFull) = withUnsafeMutablePointer(to: &surplus) { surplus in
            stream.pointee.next_out = surplus
            stream.pointee.avail_out = 1
            let result = inflate(stream, Z_FINISH)
            stream.pointee.next_out = nil
            return (result, stream.pointee.avail_out == 0)
        }
        if isFull { throw .inflatesTooLong(clusterLength: clusterLength) }
        switch result {
        // The stored bytes may end with the cluster's last byte, without the stream's end.
        case Z_STREAM_END, Z_BUF_ERROR, Z_OK: return
        case Z_MEM_ERROR: throw .outOfMemory(type: .zlib)
        default: throw .invalidData(type: .zlib, storedLength: storedLength)
        }
    }
}
