// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage

/// What those who do the job's work ask.
extension JobLifecycle {
    /// Bytes each second; 0 for no limit.
    var speed: UInt64 {
        status.withLock { $0.limit.speed }
    }

    /// Counts the caller among those who must stand still for the job to be paused, while `body` runs.
    func working(_ body: () async -> Void) async {
        status.withLock { $0.workers += 1 }
        await body()
        change { status in
            status.workers -= 1
            return status.stoodStill()
        }
    }

    /// To be called before each piece of work: lets others run, waits while the job is paused or ahead of its speed.
    ///
    /// - Parameters:
    ///   - bytes: what the piece may amount to; charged to the speed limit.
    ///   - hasWork: whether there is any left. Asked after each wait.
    /// - Returns: false where nothing is left to do, or the job is to end.
    func yieldPoint(charging bytes: UInt64, hasWork: () -> Bool = { true }) async -> Bool {
        await Task.yield()
        while hasWork() {
            let now = clock.now
            switch status.withLock({ $0.step(charging: bytes, now: now) }) {
            case .goOn: return true
            case .end: return false
            case .park: await park()
            case .sleep(let deadline): await sleep(until: deadline)
            }
        }
        // Whoever sleeps until there is time for more need not: there is no more.
        wakeSleepers()
        return false
    }

    /// Corrects a charge by what a piece of work really amounted to.
    func charge(_ bytes: UInt64, insteadOf expected: UInt64) {
        status.withLock { status in
            status.limit.refund(expected)
            status.limit.charge(bytes)
        }
    }

    /// Has those who sleep for the speed limit's sake look again.
    func wakeSleepers() {
        change { $0.wakeSleepers() }
    }

    /// Waits until `deadline` however often it is woken, unless the job is to end. Stands still while the job is paused.
    func rest(until deadline: Duration) async {
        while await yieldPoint(charging: 0), clock.now < deadline { await sleep(until: deadline) }
    }

    private func park() async {
        await withCheckedContinuation { continuation in
            change { status in
                guard status.shouldPause else { return [continuation] }
                status.parked.append(continuation)
                return status.stoodStill()
            }
        }
    }

    // MARK: Errors

    /// Records what the job fails with. Only the first counts, and none after it was cancelled.
    func fail(_ error: JobError) {
        // The task was cancelled, and is about to tell the job so.
        change { $0.fail(error.errno == .canceled ? .cancelled : error) }
    }

    /// Does what a policy says about an error, and tells it. One that comes when the job is to end anyway is of no
    /// interest to anyone.
    func act(on failure: CopyError, _ action: ErrorAction) {
        change { status in
            guard status.mayGoOn else { return [] }
            // That is no error for a policy to decide about.
            if case .cancelled = failure.underlying { return status.fail(.cancelled) }
            status.tell(.failure(failure, action: action))
            switch action {
            case .report: return status.fail(.copy(failure))
            case .stop: return status.stop(IOStatus.isNoSpace(failure.errno) ? .noSpace : .failed)
            case .ignore: return []
            }
        }
    }

    /// Waits until `deadline`, unless the job is paused, cancelled, or sped up before.
    func sleep(until deadline: Duration) async {
        let id = status.withLock { status in
            status.nextSleeper += 1
            return status.nextSleeper
        }
        let cancelTimer = clock.schedule(at: deadline) { [self] in
            change { status in status.sleepers.removeValue(forKey: id).map { [$0] } ?? [] }
        }
        await withCheckedContinuation { continuation in
            change { status in
                // Whoever asked for something in the meantime looked for sleepers in vain.
                guard status.mayGoOn, !status.shouldPause, clock.now < deadline else { return [continuation] }
                status.sleepers[id] = continuation
                return []
            }
        }
        cancelTimer()
    }
}
