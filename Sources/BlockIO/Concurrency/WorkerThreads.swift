// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import SystemPackage

/// The threads on which block I/O runs.
///
/// A task that prefers this executor may make blocking system calls: it holds up one of these threads and never one of
/// Swift's cooperative pool, whose number is tied to the processors.
///
///     await withTaskGroup { group in
///         group.addTask(executorPreference: workers) { ... }
///     }
package final class WorkerThreads: TaskExecutor, @unchecked Sendable {
    // `jobs`, `running` and `isStopping` are guarded by `mutex`; the rest is set at init, before anyone else knows of it.
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let jobAdded: UnsafeMutablePointer<pthread_cond_t>
    private var jobs = FIFOQueue<UnownedJob>()
    /// Number of threads that still take jobs.
    private var running = 0
    private var isStopping = false

    /// Processors that are online.
    package static var processorCount: Int {
        max(sysconf(Int32(_SC_NPROCESSORS_ONLN)), 1)
    }

    /// Enough threads to keep the processors and the disk busy; more only cost memory.
    package static func defaultCount(atMost limit: Int) -> Int {
        min(max(2 * processorCount, 8), limit)
    }

    /// Number of threads that were asked for.
    package let count: Int

    /// Why not even one thread could be started; `nil` where there is one. Jobs then run on the thread that hands them
    /// over: whoever may not block must not go on.
    package private(set) var startFailure: Errno?

    /// Starts the threads. They live until `stop()`, or as long as the process.
    ///
    /// The system may refuse some of them, where the number of processes is limited: one is enough to go on.
    package init(count: Int) {
        precondition(count > 0)
        self.count = count
        mutex = .allocate(capacity: 1)
        mutex.initialize(to: pthread_mutex_t())
        jobAdded = .allocate(capacity: 1)
        jobAdded.initialize(to: pthread_cond_t())
        let mutexResult = pthread_mutex_init(mutex, nil)
        let conditionResult = pthread_cond_init(jobAdded, nil)
        precondition(mutexResult == 0 && conditionResult == 0)
        pthread_mutex_lock(mutex)
        for _ in 0..<count {
            do throws(Errno) {
                try startThread()
            } catch {
                if running == 0 { startFailure = error }
                break
            }
        }
        pthread_mutex_unlock(mutex)
    }

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        // The runtime holds no reference here. Once a thread has the job, that may be the last of the work, and all others
        // let go of the executor while this call still uses it.
        let this = Unmanaged.passRetained(self)
        defer { this.release() }
        pthread_mutex_lock(mutex)
        // A task that comes back after `stop()` must not wait for ever, whether there is a thread for it or not.
        if running == 0, (try? startThread()) == nil {
            pthread_mutex_unlock(mutex)
            return job.runSynchronously(on: asUnownedTaskExecutor())
        }
        jobs.append(job)
        pthread_mutex_unlock(mutex)
        pthread_cond_signal(jobAdded)
    }

    /// Lets each thread end once there is nothing left to run.
    ///
    /// Tasks that are suspended need not be waited for: what they enqueue later runs on a new thread, which ends too.
    package func stop() {
        pthread_mutex_lock(mutex)
        isStopping = true
        pthread_mutex_unlock(mutex)
        pthread_cond_broadcast(jobAdded)
    }

    /// Starts a thread; `mutex` is held.
    private func startThread() throws(Errno) {
        // The thread holds the executor until it ends.
        try SystemThread.start("block-io") { self.runJobs() }
        running += 1
    }

    private func runJobs() {
        let executor = asUnownedTaskExecutor()
        while let job = nextJob() {
            job.runSynchronously(on: executor)
        }
    }

    /// The next job, waited for; `nil` tells the thread to end.
    private func nextJob() -> UnownedJob? {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while true {
            if let job = jobs.popFirst() { return job }
            if isStopping {
                running -= 1
                return nil
            }
            pthread_cond_wait(jobAdded, mutex)
        }
    }

    deinit {
        pthread_cond_destroy(jobAdded)
        jobAdded.deallocate()
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }
}
