// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Dispatch
import Foundation
import Glibc
import Testing

/// Tasks that prefer the workers run on their threads and on no other, also after each suspension, and blocking there
/// keeps nobody else from running.
@Suite(.timeLimit(.minutes(5)))
struct WorkerThreadsTests {
    /// Name of the calling thread, read where the kernel keeps it.
    private static func threadName() -> String {
        let name = try? String(contentsOfFile: "/proc/thread-self/comm", encoding: .utf8)
        return name?.trimmingCharacters(in: .newlines) ?? ""
    }

    private static func threadID() -> UInt { UInt(pthread_self()) }

    @Test func tasksRunOnTheThreads() async {
        let workers = WorkerThreads(count: 3)
        defer { workers.stop() }
        let threads = Locked<Set<UInt>>([])
        await withTaskGroup { group in
            for _ in 0..<200 {
                group.addTask(executorPreference: workers) {
                    #expect(Self.threadName() == "block-io")
                    await Task.yield()
                    #expect(Self.threadName() == "block-io")
                    threads.withLock { _ = $0.insert(Self.threadID()) }
                }
            }
        }
        let used = threads.withLock { $0.count }
        #expect((1...3).contains(used))
    }

    /// Each job waits for all others: it comes to an end only if every one has a thread of its own.
    @Test func asManyJobsBlockAsThereAreThreads() async {
        let count = 8
        let workers = WorkerThreads(count: count)
        defer { workers.stop() }
        let meeting = Meeting(of: count)
        await withTaskGroup { group in
            for _ in 0..<count {
                group.addTask(executorPreference: workers) { meeting.join() }
            }
        }
        #expect(meeting.joined == count)
    }

    /// All threads block until the cooperative pool has run something: it must not be among what is blocked.
    @Test func blockingDoesNotStopTheCooperativePool() async {
        let count = 2 * ProcessInfo.processInfo.activeProcessorCount + 2
        let workers = WorkerThreads(count: count)
        defer { workers.stop() }
        let meeting = Meeting(of: count + 1)
        await withTaskGroup { group in
            for _ in 0..<count {
                group.addTask(executorPreference: workers) { meeting.join() }
            }
            group.addTask { @concurrent in
                #expect(Self.threadName() != "block-io")
                await Task.yield()
                meeting.leaveOneSeat()
            }
        }
        #expect(meeting.joined == count)
    }

    @Test func oneThreadKeepsTheOrder() async {
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let order = Locked<[Int]>([])
        await withTaskGroup { group in
            for number in 0..<1000 {
                group.addTask(executorPreference: workers) { order.withLock { $0.append(number) } }
            }
        }
        #expect(order.withLock { $0 } == Array(0..<1000))
    }

    @Test func stoppingEndsTheThreadsAndFreesTheExecutor() async {
        weak var executor: WorkerThreads?
        do {
            let workers = WorkerThreads(count: 4)
            executor = workers
            await Task(executorPreference: workers) {}.value
            workers.stop()
        }
        // The threads let go of it one by one as they end.
        let deadline = ContinuousClock.now + .seconds(20)
        while executor != nil, ContinuousClock.now < deadline { await Task.yield() }
        #expect(executor == nil)
    }

    @Test func workThatComesAfterStopIsStillDone() async {
        let workers = WorkerThreads(count: 2)
        workers.stop()
        for number in 0..<50 {
            let answer = await Task(executorPreference: workers) {
                await Task.yield()
                #expect(Self.threadName() == "block-io")
                return number
            }.value
            #expect(answer == number)
        }
    }

    /// Threads that end while others still hand them work: nobody touches what has gone.
    @Test func manyShortLives() async {
        await withTaskGroup(of: Int.self) { group in
            for _ in 0..<4 {
                group.addTask { await Self.shortLives(500) }
            }
            for await sum in group { #expect(sum == 500 * 6) }
        }
    }

    /// - Returns: the sum of what all work of all threads comes to.
    private static func shortLives(_ count: Int) async -> Int {
        var total = 0
        for round in 0..<count {
            let workers = WorkerThreads(count: 1 + round % 3)
            total += await withTaskExecutorPreference(workers) { () async -> Int in
                await withTaskGroup(of: Int.self) { group in
                    for value in 0..<4 {
                        group.addTask {
                            await Task.yield()
                            return value
                        }
                    }
                    return await group.reduce(0) { $0 + $1 }
                }
            }
            workers.stop()
        }
        return total
    }
}

/// Threads that block until all of them are there.
private final class Meeting: Sendable {
    private let seats: Locked<(left: Int, joined: Int)>
    private let everyone = DispatchSemaphore(value: 0)

    init(of count: Int) {
        seats = Locked((count, 0))
    }

    var joined: Int { seats.withLock { $0.joined } }

    /// Blocks the calling thread.
    func join() {
        seats.withLock { $0.joined += 1 }
        leaveOneSeat()
        everyone.wait()
        // Each one lets the next one go.
        everyone.signal()
    }

    func leaveOneSeat() {
        let isLast = seats.withLock { seats in
            seats.left -= 1
            return seats.left == 0
        }
        if isLast { everyone.signal() }
    }
}
