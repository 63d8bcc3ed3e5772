// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage

/// The state of one job: verbs change it from any thread, and those who do the job's work ask it before each step.
final class JobLifecycle: Sendable {
    // Set at init.
    let job: String
    let clock: any JobClock
    let group: JobGroup
    let autoFinalize: Bool
    let autoDismiss: Bool
    /// Gives the id back: called when the job is about to be gone.
    private let forget: @Sendable () -> Void
    let events: AsyncStream<JobEvent>
    private let eventSink: AsyncStream<JobEvent>.Continuation
    let status: Locked<JobStatus>

    /// Events that are kept for a reader that is slow, or isn't there; then the oldest go.
    private static let eventsKept = 4096

    init(
        job: String, configuration: BackupJob.Configuration, group: JobGroup, clock: any JobClock,
        forget: @escaping @Sendable () -> Void
    ) {
        self.forget = forget
        self.job = job
        self.clock = clock
        self.group = group
        autoFinalize = configuration.autoFinalize
        autoDismiss = configuration.autoDismiss
        let (events, sink) = AsyncStream.makeStream(
            of: JobEvent.self, bufferingPolicy: .bufferingNewest(Self.eventsKept))
        self.events = events
        eventSink = sink
        status = Locked(JobStatus(speed: configuration.speed, tell: { event in sink.yield(event) }))
        group.add(self)
    }

    var state: JobState {
        status.withLock { $0.state }
    }

    /// Whether anything new may be started.
    var mayGoOn: Bool {
        status.withLock { $0.mayGoOn }
    }

    /// Changes the status and resumes those who are to be woken by it.
    func change(_ body: (inout JobStatus) -> [JobStatus.Waiter]) {
        let woken = status.withLock { status in body(&status) }
        for waiter in woken { waiter.resume() }
    }

    func tell(_ event: JobEvent) {
        eventSink.yield(event)
    }

    /// The job is gone, and the last event was told.
    func leave() {
        forget()
        eventSink.finish()
    }

    // MARK: The course of a run

    /// Enters `running`, and `paused` where something holds the job from the start.
    ///
    /// - Throws: `JobError.alreadyStarted`; `.cancelled` for a job that was cancelled before it started.
    func start() throws(JobError) {
        let error: JobError? = status.withLock { status in
            // Cancelled with its group, it may still have to be abandoned.
            if status.isCancelled { return .cancelled }
            guard status.state == .created else { return .alreadyStarted(job: job, state: status.state) }
            status.move(to: .running)
            if status.shouldPause { status.move(to: .paused) }
            return nil
        }
        if let error { throw error }
    }

    /// Ends a job that was not started, as cancelled, and those that were to end with it. There is nothing to ask its
    /// user, so it is gone at once.
    ///
    /// - Parameter settle: called before the job is concluded.
    /// - Returns: false where it was started, or is over.
    @discardableResult
    func abandon(settle: () -> Void) -> Bool {
        let isNew = status.withLock { status in
            guard status.state == .created else { return false }
            status.isCancelled = true
            status.decision = .abort
            status.move(to: .aborting)
            return true
        }
        guard isNew else { return false }
        group.remove(self)
        group.abort()
        settle()
        end(dismiss: true)
        return true
    }

    /// Ends a run, once those that end together with it have done their work: by success, unless one of them failed or
    /// was cancelled until now.
    ///
    /// - Parameter settle: called with the outcome before the job is concluded.
    /// - Returns: the first failure, or `JobError.cancelled`; `nil` after success.
    func conclude(progress: () -> JobProgress, settle: (JobOutcome) -> Void) async -> JobError? {
        let decision = await group.conclude(self)
        let error: JobError? = status.withLock { status in
            guard decision == .abort else { return nil }
            status.move(to: .aborting)
            return status.failure ?? .cancelled
        }
        settle(decision == .commit ? .success : .failure)
        switch error {
        case .cancelled: tell(.cancelled(progress: progress()))
        default: tell(.completed(error: error, progress: progress()))
        }
        end(dismiss: autoDismiss)
        return error
    }

    private func end(dismiss: Bool) {
        let waiters: [JobStatus.Waiter] = status.withLock { status in
            status.move(to: .concluded)
            if dismiss { status.move(to: .null) }
            defer { status.endWaiters = [] }
            return status.endWaiters
        }
        // Before anyone learns of the end, who may then want the id.
        if dismiss { leave() }
        for waiter in waiters { waiter.resume() }
    }

    /// Waits until the job is over.
    ///
    /// - Returns: what it failed with; `nil` after success.
    func waitForEnd() async -> JobError? {
        await withCheckedContinuation { continuation in
            change { status in
                if status.isOver { return [continuation] }
                status.endWaiters.append(continuation)
                return []
            }
        }
        return status.withLock { $0.error }
    }
}
