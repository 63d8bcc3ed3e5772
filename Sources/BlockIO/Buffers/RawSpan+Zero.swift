// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc

extension RawSpan {
    /// Whether every byte is zero.
    ///
    /// - Complexity: O(n), and mostly O(1): the first word of real data says no.
    package var isZero: Bool {
        // Unsafe for speed: this looks at every byte that is copied.
        withUnsafeBytes { bytes in
            guard let start = bytes.baseAddress else { return true }
            let stride = MemoryLayout<SIMD8<UInt64>>.size
            var offset = 0
            if bytes.count >= 8, start.loadUnaligned(as: UInt64.self) != 0 { return false }
            while offset + 4 * stride <= bytes.count {
                let words =
                    start.loadUnaligned(fromByteOffset: offset, as: SIMD8<UInt64>.self)
                    | start.loadUnaligned(fromByteOffset: offset + stride, as: SIMD8<UInt64>.self)
                    | start.loadUnaligned(fromByteOffset: offset + 2 * stride, as: SIMD8<UInt64>.self)
                    | start.loadUnaligned(fromByteOffset: offset + 3 * stride, as: SIMD8<UInt64>.self)
                if words != .zero { return false }
                offset += 4 * stride
            }
            while offset < bytes.count {
                if start.load(fromByteOffset: offset, as: UInt8.self) != 0 { return false }
                offset += 1
            }
            return true
        }
    }
}

extension MutableRawSpan {
    /// Sets every byte to zero.
    @_lifetime(self: copy self)
    package mutating func clear() {
        withUnsafeMutableBytes { bytes in
            // Not `initializeMemory`, which is a loop over bytes in a build for debugging.
            if let start = bytes.baseAddress { memset(start, 0, bytes.count) }
        }
    }

    /// Copies all of `source`, which must fit, to `offset`.
    @_lifetime(self: copy self)
    package mutating func copy(_ source: RawSpan, at offset: Int = 0) {
        precondition(offset >= 0 && source.byteCount <= byteCount - offset)
        withUnsafeMutableBytes { target in
            source.withUnsafeBytes { source in
                UnsafeMutableRawBufferPointer(rebasing: target[offset..<offset + source.count]).copyMemory(from: source)
            }
        }
    }

    /// The bytes of `range`, which must lie inside the span, as a span of their own.
    @_lifetime(&self)
    package mutating func slice(_ range: Range<Int>) -> MutableRawSpan {
        _mutatingExtracting(range)
    }
}
