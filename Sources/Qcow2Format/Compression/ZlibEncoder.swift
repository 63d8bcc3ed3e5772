// SPDX-License-Identifier: GPL-2.0-or-later

import CZlib

/// Raw deflate by zlib, with a window of 4 KiB.
final class ZlibEncoder: ClusterEncoder {
    /// Negative: no zlib header or checksum around the stream.
    private static let windowBits: Int32 = -12
    /// zlib's default. The highest, 9, measured slower and no smaller.
    private static let memoryLevel: Int32 = 8

    // On the heap because zlib keeps the address.
    private let stream: UnsafeMutablePointer<z_stream>

    /// - Parameter level: 1 to 9.
    /// - Throws: `outOfMemory`.
    init(level: Int) throws(CompressionSettingsError) {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        let result = deflateInit2_(
            stream, Int32(level), Z_DEFLATED, Self.windowBits, Self.memoryLevel, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
            Int32(MemoryLayout<z_stream>.size))
        precondition(result == Z_OK || result == Z_MEM_ERROR, "deflateInit2 refused its parameters: \(result)")
        guard result == Z_OK else { throw .outOfMemory(type: .zlib) }
    }

    deinit {
        deflateEnd(stream)
        stream.deallocate()
    }

    func encode(_ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Int? {
        guard deflateReset(stream) == Z_OK else { return nil }
        // zlib's structure lacks `const`; it only reads the input.
        stream.pointee.next_in = UnsafeMutableRawPointer(mutating: input.baseAddress)?
            .assumingMemoryBound(to: UInt8.self)
        stream.pointee.avail_in = UInt32(input.count)
        stream.pointee.next_out = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
        stream.pointee.avail_out = UInt32(output.count)
        guard deflate(stream, Z_FINISH) == Z_STREAM_END else { return nil }
        return output.count - Int(stream.pointee.avail_out)
    }
}
