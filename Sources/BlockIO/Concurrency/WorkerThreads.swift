// SPDX-License-Identifier: GPL-2.0-or-later

import CLinux
import Glibc

/// The threads on which block I/O runs.
///
/// A task that prefers this executor may make blocking system calls: it holds up one of these threads and never one of
/// Swift's cooperative pool, whose number is tied to the processors.
///
///     await withTaskGroup { group in
///         group.addTask(executorPreference: workers) { ... }
///     }
public final class WorkerThreads: TaskExecutor, @unchecked Sendable {
    // `jobs`, `firstJob` and `isStopping` are guarded by `mutex`; the rest is set at init.
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let jobAdded: UnsafeMutablePointer<pthread_cond_t>
    private var jobs: [UnownedJob] = []
    private var firstJob = 0
    private var isStopping = false

    /// Number of threads.
    public let count: Int

    /// Starts the threads. They live until `stop()`, or as long as the process.
    public init(count: Int) {
        precondition(count > 0)
        self.count = count
        mutex = .allocate(capacity: 1)
        mutex.initialize(to: pthread_mutex_t())
        jobAdded = .allocate(capacity: 1)
        jobAdded.initialize(to: pthread_cond_t())
        precondition(pthread_mutex_init(mutex, nil) == 0 && pthread_cond_init(jobAdded, nil) == 0)
        for _ in 0..<count {
            startThread()
        }
    }

    public func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        pthread_mutex_lock(mutex)
        jobs.append(job)
        pthread_mutex_unlock(mutex)
        pthread_cond_signal(jobAdded)
    }

    /// Lets each thread end once there is nothing left to run. Nothing may be enqueued afterwards.
    public func stop() {
        pthread_mutex_lock(mutex)
        isStopping = true
        pthread_mutex_unlock(mutex)
        pthread_cond_broadcast(jobAdded)
    }

    private func startThread() {
        var thread = pthread_t()
        // The thread holds the executor until it ends.
        let owner = Unmanaged.passRetained(self).toOpaque()
        let result = pthread_create(
            &thread, nil,
            { owner in
                let workers = Unmanaged<WorkerThreads>.fromOpaque(owner!).takeRetainedValue()
                clinux_name_thread("block-io")
                workers.runJobs()
                return nil
            }, owner)
        precondition(result == 0, "no thread could be started: pthread_create returned \(result)")
        pthread_detach(thread)
    }

    private func runJobs() {
        let executor = asUnownedTaskExecutor()
        while let job = nextJob() {
            job.runSynchronously(on: executor)
        }
    }

    private func nextJob() -> UnownedJob? {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while firstJob == jobs.count {
            if isStopping { return nil }
            pthread_cond_wait(jobAdded, mutex)
        }
        let job = jobs[firstJob]
        firstJob += 1
        if firstJob == jobs.count {
            jobs.removeAll(keepingCapacity: true)
            firstJob = 0
        }
        return job
    }

    deinit {
        pthread_cond_destroy(jobAdded)
        jobAdded.deallocate()
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }
}
