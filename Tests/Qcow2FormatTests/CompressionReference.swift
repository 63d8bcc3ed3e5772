// SPDX-License-Identifier: GPL-2.0-or-later

import CZlib
import CZstd
import Testing

/// Streams made and read by the plain libraries, independent of the code under test.
enum CompressionReference {
    /// Raw deflate by zlib.
    ///
    /// - Parameter end: `Z_FINISH` for a whole stream, `Z_SYNC_FLUSH` for one without an end.
    static func deflated(_ data: [UInt8], windowBits: Int32 = -12, end: Int32 = Z_FINISH) -> [UInt8] {
        var stream = z_stream()
        #expect(
            deflateInit2_(
                &stream, 6, Z_DEFLATED, windowBits, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
                Int32(MemoryLayout<z_stream>.size)) == Z_OK)
        defer { deflateEnd(&stream) }
        var input = data
        var output = [UInt8](repeating: 0, count: data.count + 1024)
        input.withUnsafeMutableBufferPointer { input in
            output.withUnsafeMutableBufferPointer { output in
                stream.next_in = input.baseAddress
                stream.avail_in = UInt32(input.count)
                stream.next_out = output.baseAddress
                stream.avail_out = UInt32(output.count)
                let result = deflate(&stream, end)
                #expect(result == (end == Z_FINISH ? Z_STREAM_END : Z_OK))
            }
        }
        return Array(output.prefix(output.count - Int(stream.avail_out)))
    }

    /// Inflates with zlib and a window of 4 KiB, byte by byte.
    ///
    /// Byte by byte, because zlib notices a distance beyond its window only where the data it points to has left the
    /// output buffer.
    ///
    /// - Returns: `nil` where the stream is invalid, has a longer distance, or does not end after `count` bytes.
    static func inflatedInWindow(_ stored: [UInt8], count: Int) -> [UInt8]? {
        var stream = z_stream()
        #expect(inflateInit2_(&stream, -12, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK)
        defer { inflateEnd(&stream) }
        var input = stored
        var output = [UInt8](repeating: 0, count: count + 1)
        let ended = input.withUnsafeMutableBufferPointer { input in
            output.withUnsafeMutableBufferPointer { output in
                stream.next_in = input.baseAddress
                stream.avail_in = UInt32(input.count)
                for index in output.indices {
                    stream.next_out = output.baseAddress! + index
                    stream.avail_out = 1
                    let result = inflate(&stream, Z_SYNC_FLUSH)
                    if result == Z_STREAM_END { return Int(stream.total_out) == count }
                    guard result == Z_OK else { return false }
                }
                return false
            }
        }
        return ended ? Array(output.prefix(count)) : nil
    }

    /// One zstd frame.
    static func zstdFrame(_ data: [UInt8]) -> [UInt8] {
        var output = [UInt8](repeating: 0, count: ZSTD_compressBound(data.count))
        let length = ZSTD_compress(&output, output.count, data, data.count, 3)
        #expect(ZSTD_isError(length) == 0)
        return Array(output.prefix(length))
    }

    /// - Returns: `nil` where `stored` is not one frame of `count` bytes.
    static func zstdContent(_ stored: [UInt8], count: Int) -> [UInt8]? {
        guard ZSTD_getFrameContentSize(stored, stored.count) == UInt64(count) else { return nil }
        var output = [UInt8](repeating: 0, count: count)
        let length = ZSTD_decompress(&output, count, stored, stored.count)
        return length == count ? output : nil
    }
}
