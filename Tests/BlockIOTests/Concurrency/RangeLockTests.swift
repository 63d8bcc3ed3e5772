// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import TestSupport
import Testing

/// Requests that touch the same bytes never run at the same time, unless all of them share; others do.
@Suite(.timeLimit(.minutes(10))) struct RangeLockTests {
    /// What runs now.
    private struct Running {
        var requests: [Int: (range: Range<UInt64>, isShared: Bool)] = [:]
        var conflicts = 0
        var sharedAtOnce = 0
    }

    @Test(arguments: 0..<4) func excludesWhatOverlaps(seed: UInt64) async {
        let lock = RangeLock()
        let running = Locked(Running())
        await withTaskGroup { group in
            for task in 0..<8 {
                group.addTask {
                    var random = SeededRandom(seed: seed * 100 + UInt64(task))
                    for _ in 0..<200 {
                        let range = random.range(below: 64)
                        let isShared = Bool.random(using: &random)
                        let ticket = await lock.acquire(range, isShared: isShared)
                        running.withLock { running in
                            for other in running.requests.values where other.range.overlaps(range) {
                                if isShared && other.isShared {
                                    running.sharedAtOnce += 1
                                } else {
                                    running.conflicts += 1
                                }
                            }
                            running.requests[task] = (range, isShared)
                        }
                        await Task.yield()
                        running.withLock { _ = $0.requests.removeValue(forKey: task) }
                        lock.release(ticket)
                    }
                }
            }
        }
        running.withLock { running in
            #expect(running.conflicts == 0)
            #expect(running.sharedAtOnce > 0)
        }
    }

    @Test func othersPass() async {
        let lock = RangeLock()
        let first = await lock.acquire(0..<10)
        let second = await lock.acquire(10..<20)
        await lock.withLock(30..<40) {}
        lock.release(second)
        lock.release(first)
        await lock.withLock(0..<40) {}
    }

    /// Several ranges are taken at once; what lies between them is free.
    @Test func severalRanges() async {
        let lock = RangeLock()
        let pieces = await lock.acquire([0..<10, 20..<30, 40..<50])
        let between = await lock.acquire([10..<20, 30..<40, 60..<70])
        await lock.withLock(50..<60) {}
        let order = Locked<[String]>([])
        await withTaskGroup { group in
            group.addTask { await lock.withLock(25..<26) { order.withLock { $0.append("inside") } } }
            while lock.waitingCount < 1 { await Task.yield() }
            group.addTask {
                let ticket = await lock.acquire([45..<46, 62..<63])
                order.withLock { $0.append("both") }
                lock.release(ticket)
            }
            while lock.waitingCount < 2 { await Task.yield() }
            #expect(order.withLock { $0.isEmpty })
            lock.release(pieces)
            while order.withLock({ $0.isEmpty }) { await Task.yield() }
            lock.release(between)
        }
        #expect(order.withLock { $0 } == ["inside", "both"])
    }

    /// Who waits for an exclusive range is not passed for ever by those who share.
    @Test func sharersQueueBehindOthers() async {
        let lock = RangeLock()
        let order = Locked<[String]>([])
        let reader = await lock.acquire(0..<10, isShared: true)
        let gate = Gate()
        await withTaskGroup { group in
            group.addTask {
                await lock.withLock(5..<15) { order.withLock { $0.append("writer") } }
            }
            group.addTask {
                await gate.wait()
                let ticket = await lock.acquire(0..<20, isShared: true)
                order.withLock { $0.append("reader") }
                lock.release(ticket)
            }
            // The writer has asked once a sharer of its range has to wait.
            while lock.waitingCount == 0 { await Task.yield() }
            gate.open()
            while lock.waitingCount < 2 { await Task.yield() }
            #expect(order.withLock { $0.isEmpty })
            lock.release(reader)
        }
        #expect(order.withLock { $0 } == ["writer", "reader"])
    }
}
