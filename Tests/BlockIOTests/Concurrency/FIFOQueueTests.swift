// SPDX-License-Identifier: GPL-2.0-or-later

import TestSupport
import Testing

@testable import BlockIO

/// What comes out is what an array gives, whatever the order of calls.
struct FIFOQueueTests {
    @Test func agreesWithAnArray() {
        var queue = FIFOQueue<Int>()
        var model: [Int] = []
        var generator = SeededRandom(seed: 1)
        for value in 0..<2000 {
            // Grows in the first half, shrinks in the second: both run empty again and again at first.
            if Int.random(in: 0..<10, using: &generator) < (value < 1000 ? 6 : 3) {
                queue.append(value)
                model.append(value)
            } else {
                #expect(queue.first == model.first)
                #expect(queue.popFirst() == (model.isEmpty ? nil : model.removeFirst()))
            }
            #expect(queue.count == model.count)
            #expect(queue.isEmpty == model.isEmpty)
            #expect(queue.first == model.first)
        }
        #expect(model.allSatisfy { queue.popFirst() == $0 })
        #expect(queue.popFirst() == nil)
    }
}
