// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// Runs a task on the thread that waits for it: faster than workers, the same each time, and work that waits for itself
/// is seen at once.
final class CallingThread: TaskExecutor {
    private let jobs = Locked<[UnownedJob]>([])

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        jobs.withLock { $0.append(job) }
    }

    static func run(_ body: @escaping @Sendable () async -> Void) {
        let executor = CallingThread()
        let isDone = Locked(false)
        Task(executorPreference: executor) {
            await body()
            isDone.withLock { $0 = true }
        }
        while !isDone.withLock({ $0 }) {
            let waiting = executor.jobs.withLock { jobs in
                defer { jobs.removeAll(keepingCapacity: true) }
                return jobs
            }
            require(!waiting.isEmpty, "deadlock: the task is not done, and nothing of it can run")
            for job in waiting { job.runSynchronously(on: executor.asUnownedTaskExecutor()) }
        }
    }
}
