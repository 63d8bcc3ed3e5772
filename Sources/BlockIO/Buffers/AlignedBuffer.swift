// SPDX-License-Identifier: GPL-2.0-or-later

/// Memory that direct I/O accepts: it starts at a multiple of 4096 bytes. Freed with its owner.
///
/// The content is undefined until it is written.
package struct AlignedBuffer: ~Copyable, @unchecked Sendable {
    /// Strictest alignment in bytes that direct I/O asks for on the file systems in use.
    package static let alignment = 4096

    private let memory: UnsafeMutableRawBufferPointer

    /// - Parameter count: length in bytes.
    package init(count: Int) {
        precondition(count >= 0)
        // At least a byte, so that an empty buffer has an address.
        memory = .allocate(byteCount: max(count, 1), alignment: Self.alignment)
        self.count = count
    }

    /// Length in bytes.
    package let count: Int

    package var bytes: RawSpan {
        @_lifetime(borrow self)
        borrowing get {
            _overrideLifetime(RawSpan(_unsafeStart: memory.baseAddress!, byteCount: count), borrowing: self)
        }
    }

    package var mutableBytes: MutableRawSpan {
        @_lifetime(&self)
        mutating get {
            _overrideLifetime(MutableRawSpan(_unsafeStart: memory.baseAddress!, byteCount: count), mutating: &self)
        }
    }

    /// The first `count` bytes.
    @_lifetime(borrow self)
    package borrowing func prefix(_ count: Int) -> RawSpan {
        bytes.extracting(0..<count)
    }

    @_lifetime(&self)
    package mutating func mutablePrefix(_ count: Int) -> MutableRawSpan {
        mutableSlice(0..<count)
    }

    @_lifetime(&self)
    package mutating func mutableSlice(_ range: Range<Int>) -> MutableRawSpan {
        precondition(range.lowerBound >= 0 && range.upperBound <= count)
        return _overrideLifetime(
            MutableRawSpan(_unsafeStart: memory.baseAddress! + range.lowerBound, byteCount: range.count),
            mutating: &self)
    }

    deinit {
        memory.deallocate()
    }
}
