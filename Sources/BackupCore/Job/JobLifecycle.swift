// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage

/// The state of one job: verbs change it from any thread, and those who do the job's work ask it before each step.
final class JobLifecycle: Sendable {
    let job: String
    let clock: any JobClock
    let events: AsyncStream<JobEvent>
    private let eventSink: AsyncStream<JobEvent>.Continuation
    let status: Locked<JobStatus>

    /// Events that are kept for a reader that is slow, or isn't there; then the oldest go.
    private static let eventsKept = 4096

    init(job: String, speed: UInt64, clock: any JobClock) {
        self.job = job
        self.clock = clock
        let (events, sink) = AsyncStream.makeStream(
            of: JobEvent.self, bufferingPolicy: .bufferingNewest(Self.eventsKept))
        self.events = events
        eventSink = sink
        status = Locked(JobStatus(speed: speed, tell: { event in sink.yield(event) }))
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

    // MARK: The course of a run

    /// Enters `running`.
    ///
    /// - Throws: `JobError.alreadyStarted`; `.cancelled` for a job cancelled before it started, which is then over.
    func start() throws(JobError) {
        let error: JobError? = status.withLock { status in
            guard status.state == .created else { return .alreadyStarted(job: job, state: status.state) }
            if status.isCancelled {
                status.move(to: .aborting)
                status.move(to: .concluded)
                // Gone whatever the user wanted: there is nothing to ask it.
                status.move(to: .null)
                return .cancelled
            }
            status.move(to: .running)
            return nil
        }
        guard let error else { return }
        if case .cancelled = error { endEvents() }
        throw error
    }

    /// Records what the job fails with. Only the first counts.
    func fail(_ error: JobError) {
        change { status in
            if status.failure == nil { status.failure = error }
            return status.wakeAll()
        }
    }

    /// Ends a run: by success, unless something failed or the job was cancelled until now.
    ///
    /// - Parameters:
    ///   - autoFinalize: go on at once; else wait to be finalised, or cancelled.
    ///   - settle: called with the outcome before the job is concluded.
    /// - Throws: the first failure, or `JobError.cancelled`.
    func conclude(
        autoFinalize: Bool, autoDismiss: Bool, progress: () -> JobProgress, settle: (JobError?) -> Void
    ) async throws(JobError) {
        let hasFailed = status.withLock { status in
            guard status.mayGoOn else { return true }
            status.move(to: .waiting)
            status.move(to: .pending)
            if autoFinalize { status.isFinalizeRequested = true }
            return false
        }
        if !hasFailed, !autoFinalize {
            tell(.pending)
            await waitToBeFinalized()
        }
        let error: JobError? = status.withLock { status in
            let error = status.failure ?? (status.isCancelled ? .cancelled : nil)
            if error != nil { status.move(to: .aborting) }
            return error
        }
        settle(error)
        switch error {
        case .cancelled: tell(.cancelled(progress: progress()))
        default: tell(.completed(error: error, progress: progress()))
        }
        status.withLock { status in
            status.move(to: .concluded)
            if autoDismiss { status.move(to: .null) }
        }
        if autoDismiss { endEvents() }
        if let error { throw error }
    }

    private func waitToBeFinalized() async {
        await withCheckedContinuation { continuation in
            change { status in
                guard !status.isFinalizeRequested, status.mayGoOn else { return [continuation] }
                status.parked.append(continuation)
                return []
            }
        }
    }

    /// The last event was told.
    func endEvents() {
        eventSink.finish()
    }
}
