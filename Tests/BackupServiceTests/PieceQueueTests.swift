// SPDX-License-Identifier: GPL-2.0-or-later

import TestSupport
import Testing

@testable import BackupService

/// Whatever is lengthened and cut off, each part of a disk is handed out once.
@Suite struct PieceQueueTests {
    @Test(arguments: 1...20 as ClosedRange<UInt64>) func everyPartOnce(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let end = UInt64.random(in: 0...5000, using: &random)
        var queue = PieceQueue(7..<7 + end, step: 16)
        var seen: [Range<UInt64>] = []
        while var piece = queue.take() {
            #expect(!piece.isEmpty)
            if Bool.random(using: &random) {
                piece = queue.shorten(piece, at: UInt64.random(in: piece, using: &random))
            } else {
                queue.lengthen()
            }
            seen.append(piece)
        }
        seen.sort { $0.lowerBound < $1.lowerBound }
        var position: UInt64 = 7
        for piece in seen {
            #expect(piece.lowerBound == position)
            position = piece.upperBound
        }
        #expect(position == 7 + end && queue.position == 7 + end)
    }

    @Test func limits() {
        var queue = PieceQueue(0..<100, step: 10)
        #expect(queue.take(below: 0) == nil && queue.take(below: 1) == 0..<10 && queue.take(below: 10) == nil)
        queue.lengthen()
        let piece = queue.take()
        #expect(piece == 10..<30)
        #expect(queue.shorten(10..<30, at: 12) == 10..<22 && queue.position == 22)
        #expect(queue.take(below: 22) == nil && queue.take() == 22..<30 && queue.take() == 30..<40)
    }

    /// The end of an exabyte is near where there is nothing to do.
    @Test func huge() {
        var queue = PieceQueue(0..<1 << 60, step: 16 << 20)
        var count = 0
        while queue.take() != nil {
            queue.lengthen()
            count += 1
        }
        #expect(count < 1 << 21)
    }
}
