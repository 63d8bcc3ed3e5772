// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps

/// The course of a job, from its point in time to its end.
extension BackupJob {
    /// Runs the job to its end. All I/O is done by tasks on `workers`.
    ///
    /// - Throws: `JobError.copy` and `.scan` for the first failure; `.cancelled` after `cancel()`, when the task that
    ///   calls this is cancelled, and when a job that ends together with this one failed; `.alreadyStarted`.
    package func run(on workers: WorkerThreads) async throws(JobError) {
        try await run(on: workers, threads: workers.count)
    }

    /// Starts the job, and returns once its point in time is taken.
    ///
    /// - Throws: `JobError.cancelled` for a job that was cancelled before; `.alreadyStarted`.
    package func start(on workers: WorkerThreads) async throws(JobError) {
        try await takePointInTime()
        workInBackground(on: workers, threads: workers.count)
    }

    /// Waits until a job that was started is over.
    ///
    /// - Throws: what `run` throws.
    package func wait() async throws(JobError) {
        if let error = await lifecycle.waitForEnd() { throw error }
    }

    func run(on workers: any TaskExecutor, threads: Int) async throws(JobError) {
        try await takePointInTime()
        try await work(on: workers, threads: threads)
    }

    /// Does the work of a job that has begun, in a task of its own.
    func workInBackground(on workers: any TaskExecutor, threads: Int) {
        Task(executorPreference: workers) {
            // Whoever wants to know waits for the end.
            try? await self.work(on: workers, threads: threads)
        }
    }

    func takePointInTime() async throws(JobError) {
        await guest?.beginDrain()
        defer { guest?.endDrain() }
        try begin()
    }

    /// Takes the point in time. The source must be drained.
    func begin() throws(JobError) {
        listenToDrains()
        do throws(JobError) {
            try lifecycle.start()
        } catch {
            ignoreDrains()
            // It may have been cancelled with its group.
            abandon()
            throw error
        }
        registry.add(self)
        if let bitmap {
            let bits = bitmap.refreeze()
            if configuration.sync == .bitmap || configuration.sync == .incremental {
                copy.withCopyBitmap { $0.formUnion(bits) }
            }
        }
        guest?.install(copy)
    }

    private func listenToDrains() {
        guest?.add(lifecycle)
        (target as? GuestDevice)?.add(targetDrain)
    }

    private func ignoreDrains() {
        (target as? GuestDevice)?.remove(targetDrain)
        guest?.remove(lifecycle)
    }

    private func work(on workers: any TaskExecutor, threads: Int) async throws(JobError) {
        let error = await withTaskCancellationHandler {
            await withTaskExecutorPreference(workers) {
                // A job that is held from the start shows it, whether there is something to copy or not.
                await lifecycle.working { _ = await lifecycle.yieldPoint(charging: 0) }
                switch configuration.sync {
                case .none: await waitToBeCancelled()
                case .top:
                    await scan()
                    await copyAll(workers, threads: threads)
                case .full, .incremental, .bitmap: await copyAll(workers, threads: threads)
                }
                await endGuestCopies()
                return await lifecycle.conclude(progress: { progress }, settle: settle)
            }
        } onCancel: {
            cancel()
        }
        if let error { throw error }
    }

    private func endGuestCopies() async {
        if let guest {
            // First, because what is still being copied for one request must not be changed by another.
            await copy.closeToGuests()
            guest.remove(copy)
        }
        // Last: as long as anything is copied to the target, its drains must find us.
        ignoreDrains()
    }

    /// sync=none: all copying is done for guests, until the user has enough.
    private func waitToBeCancelled() async {
        await lifecycle.working {
            while await lifecycle.yieldPoint(charging: 0) {
                // Woken by whatever is asked of the job; how long it sleeps otherwise does not matter.
                await lifecycle.sleep(until: lifecycle.clock.now + .seconds(86_400))
            }
        }
    }

    // MARK: The end

    /// Ends a job that was not started, and gives back what it took.
    ///
    /// - Returns: false where it was started, or is over.
    @discardableResult
    func abandon() -> Bool {
        lifecycle.abandon(settle: { settle(.neverStarted) })
    }

    private func settle(_ outcome: JobOutcome) {
        bitmap?.settle(outcome, owed: copy.state.withLock { $0.owedToTarget })
        registry.release(source: source, target: target)
    }
}
