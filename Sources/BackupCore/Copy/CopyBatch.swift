// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// Requests that are copied together, and what of them goes through the buffer.
struct CopyBatch {
    struct Member {
        var request: CopyRequest
        var counters = CopyCounters()
        /// Number of pieces in the batch up to its last one.
        var pieceEnd = 0
    }

    var members: [Member] = []
    /// In the order of the requests and, inside each, of the disk; one behind the other in the buffer.
    private(set) var pieces: [TransferPiece] = []
    /// Bytes of the buffer that the pieces take.
    private(set) var length = 0
    /// Bytes that were written as zeroes.
    var zeroLength: UInt64 = 0

    /// Adds a piece to the last member.
    mutating func append(_ range: Range<UInt64>) {
        // A piece lies in the buffer, so it fits an Int.
        let end = length + Int(range.upperBound - range.lowerBound)
        pieces.append(TransferPiece(offset: range.lowerBound, slice: length..<end))
        length = end
        members[members.count - 1].pieceEnd = pieces.count
    }

    /// The member that a piece belongs to.
    func member(ofPiece index: Int) -> Int {
        members.firstIndex { index < $0.pieceEnd } ?? members.count - 1
    }
}
