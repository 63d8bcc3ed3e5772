// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import TestSupport
import Testing

/// One section at a time, in order of arrival, and no arrival is forgotten.
@Suite(.timeLimit(.minutes(5)))
struct AsyncMutexTests {
    private struct Failure: Error {}

    @Test(arguments: [2, 50, 500])
    func sectionsExcludeEachOther(tasks: Int) async {
        let mutex = AsyncMutex()
        let inside = Locked(0)
        let total = Locked(0)
        await withTaskGroup { group in
            for _ in 0..<tasks {
                group.addTask { @concurrent in
                    for _ in 0..<20 {
                        await mutex.withLock {
                            #expect(
                                inside.withLock {
                                    $0 += 1; return $0
                                } == 1)
                            // Others run while the section is suspended, and must wait.
                            await Task.yield()
                            total.withLock { $0 += 1 }
                            inside.withLock { $0 -= 1 }
                        }
                    }
                }
            }
        }
        #expect(total.withLock { $0 } == tasks * 20)
    }

    /// All tasks run on one thread, which takes them in order: so the order of arrival is known.
    @Test func waitersAreServedInOrderOfArrival() async {
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let mutex = AsyncMutex()
        let gate = Gate()
        let order = Locked<[Int]>([])
        await withTaskGroup { group in
            group.addTask(executorPreference: workers) {
                await mutex.withLock { await gate.wait() }
            }
            for number in 0..<300 {
                group.addTask(executorPreference: workers) {
                    await mutex.withLock {
                        await Task.yield()
                        order.withLock { $0.append(number) }
                    }
                }
            }
            // Comes last on the one thread: by then all others wait.
            group.addTask(executorPreference: workers) { gate.open() }
        }
        #expect(order.withLock { $0 } == Array(0..<300))
    }

    @Test func anErrorLeavesTheLockFree() async {
        let mutex = AsyncMutex()
        await #expect(throws: Failure.self) {
            try await mutex.withLock { () async throws(Failure) in throw Failure() }
        }
        #expect(await mutex.withLock { 5 } == 5)
    }

    @Test func aCancelledWaiterStillGetsItsTurn() async {
        let mutex = AsyncMutex()
        let (entered, gate) = (Gate(), Gate())
        let holder = Task {
            await mutex.withLock {
                entered.open()
                await gate.wait()
            }
        }
        await entered.wait()
        let waiter = Task { await mutex.withLock { Task.isCancelled } }
        waiter.cancel()
        gate.open()
        #expect(await waiter.value)
        await holder.value
    }
}
