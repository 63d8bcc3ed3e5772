// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Glibc
import Testing

/// A task on the immediate executor runs on the threads of those that it waits for, and needs none of its own.
@Suite(.timeLimit(.minutes(5)))
struct ImmediateExecutorTests {
    @Test func runsWhereItIsStartedAndWhereItIsResumed() async {
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let threads = Locked<[UInt]>([])
        let note = { @Sendable in threads.withLock { $0.append(UInt(pthread_self())) } }
        let (own, task) = Self.start {
            note()
            await Task(executorPreference: workers) { note() }.value
            note()
        }
        await task.value
        let noted = threads.withLock { $0 }
        #expect(noted.count == 3)
        #expect(noted.first == own)
        // Back from the worker, on its thread; or on the first, where the worker was done before it was waited for.
        #expect(noted.last == noted[1] || noted.last == own)
        #expect(noted[1] != own)
    }

    /// Starts a task from one thread.
    private static func start(
        _ body: @escaping @Sendable () async -> Void
    ) -> (thread: UInt, task: Task<Void, Never>) {
        (UInt(pthread_self()), Task.detached(executorPreference: ImmediateExecutor()) { await body() })
    }
}
