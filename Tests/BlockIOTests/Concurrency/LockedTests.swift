// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Foundation
import Testing

/// One closure at a time is inside, whatever the threads do, and it always comes out.
struct LockedTests {
    private struct Failure: Error, Equatable {
        let value: Int
    }

    @Test func threadsDoNotLoseUpdates() async {
        let counter = Locked(0)
        let (threads, rounds) = (8, 5000)
        await withTaskGroup { group in
            for _ in 0..<threads {
                group.addTask {
                    await withCheckedContinuation { continuation in
                        Thread.detachNewThread {
                            for _ in 0..<rounds { counter.withLock { $0 += 1 } }
                            continuation.resume()
                        }
                    }
                }
            }
        }
        #expect(counter.withLock { $0 } == threads * rounds)
    }

    @Test func anErrorLeavesTheLockFree() {
        let state = Locked(1)
        #expect(throws: Failure(value: 2)) {
            try state.withLock { (value) throws(Failure) in
                value = 2
                throw Failure(value: value)
            }
        }
        #expect(state.withLock { $0 } == 2)
    }

    @Test func stateGoesWithTheLock() {
        final class Canary: Sendable {}
        weak var canary: Canary?
        do {
            let state = Locked<Canary?>(nil)
            state.withLock { $0 = Canary() }
            canary = state.withLock { $0 }
            #expect(canary != nil)
        }
        #expect(canary == nil)
    }
}
