// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
public import BlockIO
import SystemPackage

extension BackupJob {
    /// Runs the job to its end. All I/O is done by tasks on `workers`.
    ///
    /// - Throws: `JobError.copy` and `.scan` for the first failure; `.cancelled` after `cancel()`, or when the task that
    ///   calls this is cancelled; `.alreadyStarted`.
    public func run(on workers: WorkerThreads) async throws(JobError) {
        try lifecycle.start()
        await withTaskCancellationHandler {
            await withTaskExecutorPreference(workers) {
                await startGuestCopies()
                switch configuration.sync {
                case .none: await waitToBeCancelled()
                case .top:
                    await scan()
                    await copyAll(workers)
                case .full, .incremental, .bitmap: await copyAll(workers)
                }
                await endGuestCopies()
            }
        } onCancel: {
            cancel()
        }
        try await lifecycle.conclude(
            autoFinalize: configuration.autoFinalize, autoDismiss: configuration.autoDismiss,
            progress: { progress }, settle: { _ in })
    }

    // MARK: Guest writes

    /// From here on the guest's changes are copied first: the point in time of the backup.
    private func startGuestCopies() async {
        guard let guest else { return }
        await guest.beginDrain()
        guest.install(copy)
        guest.endDrain()
    }

    private func endGuestCopies() async {
        guard let guest else { return }
        guest.remove(copy)
        // Those that asked before the hook was gone still use the target.
        await copy.drainGuests()
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

    // MARK: Top layer

    /// Takes what the top layer doesn't hold out of what is to be copied.
    private func scan() async {
        await lifecycle.working {
            var scan = AllocationScan(source: copy.source, clusterSize: clusterSize)
            while !scan.isFinished, await lifecycle.yieldPoint(charging: 0) {
                do throws(BlockError) {
                    if let unallocated = try await scan.next() { copy.skip(unallocated) }
                } catch {
                    lifecycle.fail(.scan(offset: scan.position, underlying: error))
                }
            }
        }
        copy.isScanning = false
    }

    // MARK: Background copying

    /// Copies until nothing is owed any more.
    private func copyAll(_ workers: WorkerThreads) async {
        let plan = WorkPlan(configuration, threads: workers.count, copy: copy, isLive: guest != nil)
        while lifecycle.mayGoOn, !copy.isComplete {
            let failure = Locked<CopyError?>(nil)
            let workerCount = plan.workerCount(for: copy.progress.remaining)
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<workerCount {
                    group.addTask(executorPreference: workers) {
                        await self.lifecycle.working { await self.work(plan, failure) }
                    }
                }
            }
            if let failure = failure.withLock({ $0 }) {
                await handle(failure)
                copy.release()
            } else if lifecycle.mayGoOn {
                // What a guest is copying now may yet fail, and is then owed again.
                await copy.waitForAnyInFlight()
            }
        }
    }

    /// One worker: takes a range, copies it, and so on until there is none, something failed, or the job is to end.
    private func work(_ plan: WorkPlan, _ failure: Locked<CopyError?>) async {
        // A chunk has an upper bound, so it fits an Int.
        var buffer = AlignedBuffer(count: Int(plan.chunk))
        while true {
            let (limit, growth) = plan.bounds(speed: lifecycle.speed)
            guard await lifecycle.yieldPoint(charging: limit, hasWork: { copy.canTake }) else { return }
            guard let request = copy.take(limit: limit, growth: growth) else {
                lifecycle.charge(0, insteadOf: limit)
                return
            }
            do {
                let copied = try await copy.copy(request, through: &buffer)
                lifecycle.charge(copied, insteadOf: limit)
            } catch {
                failure.withLock { if $0 == nil { $0 = error } }
                return
            }
        }
    }

    /// Does what the failing side's policy says. The copying stands still meanwhile.
    private func handle(_ failure: CopyError) async {
        let policy = failure.side == .source ? configuration.onSourceError : configuration.onTargetError
        let action = policy.action(for: failure.errno)
        lifecycle.tell(.failure(failure, action: action))
        switch action {
        case .report: lifecycle.fail(.copy(failure))
        case .stop: lifecycle.stop(failure.errno == .noSpace ? .noSpace : .failed)
        case .ignore: await lifecycle.sleep(until: lifecycle.clock.now + Self.retryDelay)
        }
    }

    /// Least time between two tries of what failed.
    private static let retryDelay = Duration.milliseconds(100)
}
