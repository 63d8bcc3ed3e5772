// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import TestSupport
import Testing

/// Holders never have more than there is, come in order, and all get their turn.
@Suite(.timeLimit(.minutes(10))) struct MemoryBudgetTests {
    @Test func keepsToItsBytes() async {
        let budget = MemoryBudget(bytes: 100)
        let held = Locked((now: 0, most: 0, turns: 0))
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<8 as Range<UInt64> {
                group.addTask {
                    var random = SeededRandom(seed: task)
                    for _ in 0..<200 {
                        // At times more than there is.
                        let bytes = Int.random(in: 0...130, using: &random)
                        await budget.acquire(bytes)
                        held.withLock { held in
                            held.now += min(bytes, 100)
                            held.most = max(held.most, held.now)
                            held.turns += 1
                        }
                        await Task.yield()
                        held.withLock { $0.now -= min(bytes, 100) }
                        budget.release(bytes)
                    }
                }
            }
        }
        #expect(held.withLock { $0.most } <= 100)
        #expect(held.withLock { $0.turns } == 1600)
        #expect(budget.waitingCount == 0)
        await budget.acquire(100)
        budget.release(100)
    }

    /// Someone who wants little does not overtake someone who waits for much.
    @Test func servesInOrder() async {
        let budget = MemoryBudget(bytes: 10)
        await budget.acquire(6)
        let order = Locked<[Int]>([])
        await withTaskGroup(of: Void.self) { group in
            for (index, bytes) in [8, 4].enumerated() {
                group.addTask {
                    await budget.acquire(bytes)
                    order.withLock { $0.append(bytes) }
                    budget.release(bytes)
                }
                while budget.waitingCount <= index { await Task.yield() }
            }
            budget.release(6)
        }
        #expect(order.withLock { $0 } == [8, 4])
    }
}
