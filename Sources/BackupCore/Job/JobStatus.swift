// SPDX-License-Identifier: GPL-2.0-or-later

/// What a job is doing and what was asked of it: the part that `JobLifecycle`'s lock guards. Pure, but for telling events.
struct JobStatus {
    typealias Waiter = CheckedContinuation<Void, Never>

    /// What one that does the job's work is to do next.
    enum Step: Equatable {
        case goOn
        /// Wait until woken: the job is to pause.
        case park
        /// Wait until then, or until woken: the job is ahead of its speed.
        case sleep(until: Duration)
        /// Start nothing any more.
        case end
    }

    /// How a job and those that end with it are to end.
    enum Decision {
        case commit
        case abort
    }

    private(set) var state = JobState.created
    var isCancelled = false
    /// What the job fails with.
    var failure: JobError?
    var ioStatus = IOStatus.ok
    var decision: Decision?

    var isUserPaused = false
    /// How many want the job to stand still, apart from the user.
    var drains = 0
    var limit: RateLimit

    /// How many do the job's work now. The job is paused once all of them stand still.
    var workers = 0
    /// Workers that stand still.
    var parked: [Waiter] = []
    /// Who sleeps for the speed limit's sake.
    var sleepers: [UInt64: Waiter] = [:]
    var nextSleeper: UInt64 = 0
    /// Who waits for the decision, the work being done.
    var undecided: [Waiter] = []
    /// Who waits for the workers to stand still.
    var stillWaiters: [Waiter] = []
    /// Who waits for the end.
    var endWaiters: [Waiter] = []

    let tell: @Sendable (JobEvent) -> Void

    init(speed: UInt64, tell: @escaping @Sendable (JobEvent) -> Void) {
        limit = RateLimit(speed: speed)
        self.tell = tell
        tell(.statusChanged(.created))
    }

    var mayGoOn: Bool {
        !isCancelled && failure == nil
    }

    var shouldPause: Bool {
        (isUserPaused || drains > 0) && mayGoOn
    }

    var isOver: Bool {
        state == .concluded || state == .null
    }

    /// What the job failed with; `nil` after success, and as long as it is not over.
    var error: JobError? {
        guard isOver, decision != .commit else { return nil }
        return failure ?? .cancelled
    }

    /// Moves to a state that may follow the present one; anything else is a mistake of ours.
    mutating func move(to next: JobState) {
        precondition(state.successors.contains(next), "a job can't go from \(state) to \(next)")
        state = next
        tell(.statusChanged(next))
    }

    /// Marks the job as cancelled, whatever it waits for.
    mutating func cancel() -> [Waiter] {
        isCancelled = true
        isUserPaused = false
        ioStatus = .ok
        return wakeAll()
    }

    /// What to do before the next piece of work, which `bytes` are charged for where it may start.
    mutating func step(charging bytes: UInt64, now: Duration) -> Step {
        guard mayGoOn else { return .end }
        if shouldPause { return .park }
        if let start = limit.nextStart(now: now) { return .sleep(until: start) }
        limit.charge(bytes)
        return .goOn
    }

    /// Whether no worker moves.
    var isStill: Bool {
        parked.count == workers
    }

    /// Becomes paused, where it should, once no worker moves.
    ///
    /// - Returns: who waited for that.
    mutating func stoodStill() -> [Waiter] {
        guard isStill else { return [] }
        if state == .running, shouldPause, workers > 0 { move(to: .paused) }
        defer { stillWaiters = [] }
        return stillWaiters
    }

    /// Records what the job fails with, unless it is to end already.
    mutating func fail(_ error: JobError) -> [Waiter] {
        guard mayGoOn else { return [] }
        failure = error
        return wakeAll()
    }

    /// Pauses for the user to do something about an error. The first one decides what is shown.
    mutating func stop(_ status: IOStatus) -> [Waiter] {
        isUserPaused = true
        if ioStatus == .ok { ioStatus = status }
        return wakeSleepers()
    }

    /// Those to wake when the job may go on, or is to look again.
    mutating func wakeAll() -> [Waiter] {
        if state == .paused { move(to: .running) }
        let woken = parked + sleepers.values + undecided
        parked = []
        sleepers = [:]
        undecided = []
        return woken
    }

    /// Those to wake so that they notice that something changed while they slept.
    mutating func wakeSleepers() -> [Waiter] {
        let woken = Array(sleepers.values)
        sleepers = [:]
        return woken
    }
}
