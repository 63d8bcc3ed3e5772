// SPDX-License-Identifier: GPL-2.0-or-later

import TestSupport
import Testing

@testable import BlockIO

/// A queue gives back everything once and in order, whether or not it ever drains.
struct FIFOQueueTests {
    @Test(arguments: UInt64(1)...6)
    func agreesWithAnArray(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var queue = FIFOQueue<Int>()
        var model: [Int] = []
        for step in 0..<5000 {
            // By turns more come than go and the other way round.
            let chance = (step / 500).isMultiple(of: 2) ? 0.7 : 0.3
            if Double.random(in: 0..<1, using: &random) < chance {
                queue.append(step)
                model.append(step)
            } else {
                #expect(queue.popFirst() == (model.isEmpty ? nil : model.removeFirst()))
            }
            #expect(queue.count == model.count)
        }
    }

    @Test func elementsAreReleasedWhenTheyLeave() {
        final class Canary: Sendable {}
        weak var canary: Canary?
        var queue = FIFOQueue<Canary>()
        do {
            let first = Canary()
            canary = first
            queue.append(first)
            queue.append(Canary())
        }
        #expect(canary != nil)
        _ = queue.popFirst()
        #expect(canary == nil)
        #expect(queue.count == 1)
    }
}
