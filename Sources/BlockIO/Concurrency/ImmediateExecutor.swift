// SPDX-License-Identifier: GPL-2.0-or-later

/// Runs each job at once, on the thread that hands it over.
///
/// For tasks that start others on `WorkerThreads` and wait for them: Swift's own pool would start threads for them, and
/// where the system has none left, the process would wait for ever. Such a task must not block, nor call what needs the
/// thread that it was started on.
package final class ImmediateExecutor: TaskExecutor {
    package init() {}

    package func enqueue(_ job: consuming ExecutorJob) {
        UnownedJob(job).runSynchronously(on: asUnownedTaskExecutor())
    }
}
