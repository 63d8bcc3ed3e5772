// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import SystemPackage

/// The background work of a job: finding out what is to be copied, copying it, and what to do about errors.
extension BackupJob {
    // MARK: Top layer

    /// Takes what the top layer doesn't hold out of what is to be copied.
    func scan() async {
        var scan = AllocationScan(source: copy.source, clusterSize: clusterSize)
        await lifecycle.working {
            while !scan.isFinished, await lifecycle.yieldPoint(charging: 0) {
                do throws(BlockError) {
                    if case .unallocated(let range) = try await scan.step() { copy.skip(range) }
                } catch {
                    lifecycle.fail(.scan(offset: scan.position, underlying: error))
                }
            }
        }
        // A scan that was broken off leaves guests to look for themselves.
        if scan.isFinished { copy.isScanning = false }
    }

    // MARK: Copying

    /// Copies until nothing is owed any more.
    func copyAll(_ workers: any TaskExecutor, threads: Int) async {
        let plan = WorkPlan(configuration, threads: threads, copy: copy, isLive: guest != nil)
        var tries = SourceTries(limit: configuration.sourceTries, clusterSize: clusterSize)
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
                await handle(failure, &tries)
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
            let bounds = plan.bounds(speed: lifecycle.speed)
            guard await lifecycle.yieldPoint(charging: bounds.charge, hasWork: { copy.canTake }) else { return }
            // A limit may have been set while this waited.
            if !bounds.isLimited, lifecycle.speed > 0 { continue }
            do {
                let moved = try await copy.copyNext(limit: bounds.limit, growth: bounds.growth, through: &buffer)
                if bounds.isLimited { lifecycle.charge(moved ?? 0, insteadOf: bounds.charge) }
                if moved == nil { return }
            } catch {
                lifecycle.charge(0, insteadOf: bounds.charge)
                failure.withLock { if $0 == nil { $0 = error } }
                // Those who sleep until there is time for more have nothing to do until this is settled.
                lifecycle.wakeSleepers()
                return
            }
        }
    }

    // MARK: Errors

    /// Does what the failing side's policy says. The copying stands still meanwhile.
    private func handle(_ failure: CopyError, _ tries: inout SourceTries) async {
        let policy = failure.side == .source ? configuration.onSourceError : configuration.onTargetError
        let action = policy.action(for: failure.errno)
        lifecycle.act(on: failure, action)
        guard action == .ignore, lifecycle.mayGoOn else { return }
        if let cluster = tries.giveUp(after: failure) {
            copy.giveUp(cluster)
        } else {
            await lifecycle.working { await lifecycle.rest(until: lifecycle.clock.now + Self.retryDelay) }
        }
    }

    /// Least time between two tries of what failed.
    private static let retryDelay = Duration.milliseconds(100)
}
