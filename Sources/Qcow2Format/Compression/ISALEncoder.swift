// SPDX-License-Identifier: GPL-2.0-or-later

#if canImport(CISAL)
    import CISAL

    /// Raw deflate by ISA-L, with distances of at most 4 KiB.
    final class ISALEncoder: ClusterEncoder {
        static let highestLevel = 3
        /// Other readers keep a window of 4 KiB.
        private static let windowBits: UInt16 = 12

        private let stream: UnsafeMutableRawBufferPointer
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
            stream = .allocate(byteCount: isal_stream_length, alignment: 64)
            isal_stream_init(
                stream.baseAddress, UInt32(level), Self.windowBits, levelBuffer.baseAddress, UInt32(levelBuffer.count))
        }

        deinit {
            stream.deallocate()
            levelBuffer.deallocate()
        }

        func encode(_ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Int? {
            let length = isal_stream_compress(
                stream.baseAddress, input.baseAddress, UInt32(input.count), output.baseAddress, UInt32(output.count))
            return length < 0 ? nil : length
        }
    }
#endif
