// SPDX-License-Identifier: GPL-2.0-or-later

#if canImport(CISAL)
    import CISAL

    /// Raw deflate by ISA-L, with distances of at most 4 KiB.
    final class ISALEncoder: ClusterEncoder {
        static let highestLevel = 3
        /// Other readers keep a window of 4 KiB.
        private static let windowBits: UInt16 = 12

        private let stream: UnsafeMutablePointer<isal_zstream>
        private let levelBuffer: UnsafeMutableRawBufferPointer

        /// - Parameter level: 1 to 3.
        init(level: Int) {
            // Room for the hash table and for the symbols of one deflate block.
            let length =
                switch level {
                case ...1: isal_level1_buffer_length
                case 2: isal_level2_buffer_length
                default: isal_level3_buffer_length
                }
            levelBuffer = .allocate(byteCount: length, alignment: 64)
            stream = .allocate(capacity: 1)
            isal_deflate_init(stream)
            stream.pointee.level = UInt32(level)
            stream.pointee.level_buf = levelBuffer.baseAddress?.assumingMemoryBound(to: UInt8.self)
            stream.pointee.level_buf_size = UInt32(levelBuffer.count)
            stream.pointee.hist_bits = Self.windowBits
        }

        deinit {
            stream.deallocate()
            levelBuffer.deallocate()
        }

        func encode(_ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Int? {
            isal_deflate_reset(stream)
            // The library's structure lacks `const`; it only reads the input.
            stream.pointee.next_in = UnsafeMutableRawPointer(mutating: input.baseAddress)?
                .assumingMemoryBound(to: UInt8.self)
            stream.pointee.avail_in = UInt32(input.count)
            stream.pointee.next_out = output.baseAddress?.assumingMemoryBound(to: UInt8.self)
            stream.pointee.avail_out = UInt32(output.count)
            stream.pointee.end_of_stream = 1
            stream.pointee.flush = UInt16(NO_FLUSH)
            guard isal_deflate(stream) == COMP_OK, stream.pointee.internal_state.state == ZSTATE_END else { return nil }
            return Int(stream.pointee.total_out)
        }
    }
#endif
