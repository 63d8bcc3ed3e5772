// SPDX-License-Identifier: GPL-2.0-or-later

/// A piece of a disk, and the part of a buffer that it is moved to or from.
package struct TransferPiece: Sendable, Equatable {
    /// Where it starts on the disk, in bytes.
    package let offset: UInt64
    /// Bytes of the buffer, as many as the piece has.
    package let slice: Range<Int>

    package init(offset: UInt64, slice: Range<Int>) {
        self.offset = offset
        self.slice = slice
    }

    /// Bytes of the disk.
    package var range: Range<UInt64> { offset..<offset + UInt64(slice.count) }
}

/// Which of several pieces could not be moved, and why.
package struct TransferError: Error {
    /// Of the piece.
    package let index: Int
    package let underlying: BlockError

    package init(index: Int, underlying: BlockError) {
        self.index = index
        self.underlying = underlying
    }
}
