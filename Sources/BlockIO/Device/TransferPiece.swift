// SPDX-License-Identifier: GPL-2.0-or-later

/// A piece of a disk, and the part of a buffer that it is moved to or from.
public struct TransferPiece: Sendable, Equatable {
    /// Where it starts on the disk, in bytes.
    public let offset: UInt64
    /// Bytes of the buffer, as many as the piece has.
    public let slice: Range<Int>

    public init(offset: UInt64, slice: Range<Int>) {
        self.offset = offset
        self.slice = slice
    }

    /// Bytes of the disk.
    public var range: Range<UInt64> { offset..<offset + UInt64(slice.count) }
}

/// Which of several pieces could not be moved, and why.
public struct TransferError: Error {
    /// Of the piece.
    public let index: Int
    public let underlying: BlockError

    public init(index: Int, underlying: BlockError) {
        self.index = index
        self.underlying = underlying
    }
}
