// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage
import Testing

@testable import BackupCore

/// Pauses and drains add up, are honoured at the next step, and are told in order; so are errors and endings.
@Suite(.timeLimit(.minutes(10))) struct PauseTests {
    static func job(
        _ configuration: BackupJob.Configuration = .init(), clusters: Int = 8, clock: any JobClock = SystemJobClock(),
        onWrite: (@Sendable (Int) -> Void)? = nil
    ) async throws -> (job: BackupJob, source: TestDisk, target: TestDisk) {
        let bytes = (0..<clusters).flatMap { [UInt8](repeating: UInt8($0 + 1), count: 65536) }
        let source = TestDisk(name: "source", bytes: bytes)
        let writes = Locked(0)
        let target = TestDisk(
            name: "target", bytes: [UInt8](repeating: 0, count: bytes.count),
            onCall: { call in
                guard call.operation == .write else { return }
                let count = writes.withLock { writes in
                    writes += 1
                    return writes
                }
                onWrite?(count)
            })
        let job = try await BackupJob(
            id: "job0", source: source, target: target, configuration: configuration, clock: clock)
        return (job, source, target)
    }

    static func told(_ job: BackupJob) async -> [String] {
        var told: [String] = []
        for await event in job.events {
            switch event {
            case .statusChanged(let state): told.append(state.rawValue)
            case .failure(let error, let action): told.append("ERROR \(error.side.rawValue) \(action.rawValue)")
            case .pending: told.append("PENDING")
            case .completed(let error, let progress):
                told.append("COMPLETED \(error.map { "\($0.errno.rawValue)" } ?? "") \(progress.offset)")
            case .cancelled(let progress): told.append("CANCELLED \(progress.offset)")
            }
        }
        return told
    }

    @Test func successIsToldInOrder() async throws {
        let workers = WorkerThreads(count: 2)
        defer { workers.stop() }
        let (job, _, _) = try await Self.job()
        try await job.run(on: workers)
        #expect(
            await Self.told(job)
                == ["created", "running", "waiting", "pending", "COMPLETED  524288", "concluded", "null"])
    }

    @Test func aDrainAtTheStartShowsAsAPause() async throws {
        let workers = WorkerThreads(count: 2)
        defer { workers.stop() }
        let (job, source, target) = try await Self.job()
        job.beginDrain()
        job.beginDrain()
        let run = Task { try await job.run(on: workers) }
        await until { job.state == .paused }
        #expect(target.calls.isEmpty && source.calls.isEmpty)
        job.endDrain()
        #expect(job.state == .paused)
        job.endDrain()
        try await run.value
        #expect(
            await Self.told(job) == [
                "created", "running", "paused", "running", "waiting", "pending", "COMPLETED  524288", "concluded",
                "null",
            ])
    }

    @Test func pausesAddUp() async throws {
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let (job, _, target) = try await Self.job()
        try job.pause()
        #expect(throws: JobError.self, "Job 'job0' is already paused") { try job.pause() }
        job.beginDrain()
        let run = Task { try await job.run(on: workers) }
        await until { job.state == .paused }
        try job.resume()
        #expect(throws: JobError.self, "Job 'job0' is not paused") { try job.resume() }
        #expect(job.state == .paused && target.calls.isEmpty)
        job.endDrain()
        try await run.value
    }

    @Test func pauseWaitsForWhatIsInHand() async throws {
        let workers = WorkerThreads(count: 3)
        defer { workers.stop() }
        let box = Locked<BackupJob?>(nil)
        let (job, source, target) = try await Self.job(.init(maxWorkers: 3, maxChunk: 65536), clusters: 40) { write in
            if write == 5 { try? box.withLock { $0 }?.pause() }
        }
        box.withLock { $0 = job }
        let run = Task { try await job.run(on: workers) }
        await until { job.state == .paused }
        let writes = target.calls(.write).count
        #expect(writes >= 5 && writes <= 7)
        #expect(job.progress.offset == UInt64(writes * 65536))
        try job.resume()
        try await run.value
        #expect(target.bytes == source.bytes)
        box.withLock { $0 = nil }
    }

    @Test func cancelEndsAPause() async throws {
        let workers = WorkerThreads(count: 2)
        defer { workers.stop() }
        let (job, _, target) = try await Self.job()
        try job.pause()
        let run = Task { try await job.run(on: workers) }
        await until { job.state == .paused }
        job.cancel()
        await #expect(throws: JobError.self) { try await run.value }
        #expect(target.calls.isEmpty)
        #expect(
            await Self.told(job)
                == ["created", "running", "paused", "running", "aborting", "CANCELLED 0", "concluded", "null"])
    }

    @Test func cancelledBeforeItsStart() async throws {
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let (job, _, _) = try await Self.job()
        job.cancel()
        await #expect(throws: JobError.self) { try await job.run(on: workers) }
        #expect(await Self.told(job) == ["created", "aborting", "concluded", "null"])
    }

    @Test func waitsToBeFinalizedAndDismissed() async throws {
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        var configuration = BackupJob.Configuration()
        configuration.autoFinalize = false
        configuration.autoDismiss = false
        let (job, _, _) = try await Self.job(configuration)
        #expect(throws: JobError.self) { try job.finalize() }
        let run = Task { try await job.run(on: workers) }
        await until { job.state == .pending }
        #expect(throws: JobError.self) { try job.pause() }
        #expect(throws: JobError.self) { try job.dismiss() }
        try job.finalize()
        try await run.value
        #expect(job.state == .concluded)
        try job.dismiss()
        #expect(job.state == .null)
        #expect(throws: JobError.self) { try job.dismiss() }
        #expect(
            await Self.told(job)
                == ["created", "running", "waiting", "pending", "PENDING", "COMPLETED  524288", "concluded", "null"])
    }

    @Test func cancelledWhilePending() async throws {
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        var configuration = BackupJob.Configuration()
        configuration.autoFinalize = false
        let (job, _, _) = try await Self.job(configuration)
        let run = Task { try await job.run(on: workers) }
        await until { job.state == .pending }
        job.cancel()
        await #expect(throws: JobError.self) { try await run.value }
        #expect(await Self.told(job).suffix(4) == ["aborting", "CANCELLED 524288", "concluded", "null"])
    }

    // MARK: Error policies

    struct PolicyRow: Sendable, CustomTestStringConvertible {
        var policy: ErrorPolicy
        var errno: Errno
        var action: ErrorAction
        var ioStatus = IOStatus.ok
        var testDescription: String { "\(policy.rawValue), \(errno)" }
    }

    static let policyRows = [
        PolicyRow(policy: .report, errno: .ioError, action: .report),
        PolicyRow(policy: .report, errno: .noSpace, action: .report),
        PolicyRow(policy: .ignore, errno: .ioError, action: .ignore),
        PolicyRow(policy: .ignore, errno: .noSpace, action: .ignore),
        PolicyRow(policy: .stop, errno: .ioError, action: .stop, ioStatus: .failed),
        PolicyRow(policy: .stop, errno: .noSpace, action: .stop, ioStatus: .noSpace),
        PolicyRow(policy: .enospc, errno: .ioError, action: .report),
        PolicyRow(policy: .enospc, errno: .noSpace, action: .stop, ioStatus: .noSpace),
        PolicyRow(policy: .enospc, errno: .diskQuotaExceeded, action: .stop, ioStatus: .noSpace),
        PolicyRow(policy: .auto, errno: .ioError, action: .report),
        PolicyRow(policy: .auto, errno: .noSpace, action: .stop, ioStatus: .noSpace),
    ]

    @Test(arguments: policyRows, [CopyError.Side.source, .target])
    func policyIsFollowed(_ row: PolicyRow, side: CopyError.Side) async throws {
        let workers = WorkerThreads(count: 2)
        defer { workers.stop() }
        let clock = ManualClock()
        var configuration = BackupJob.Configuration(maxWorkers: 1, maxChunk: 65536)
        // The other side's policy must not matter.
        configuration.onSourceError = side == .source ? row.policy : (row.action == .report ? .ignore : .report)
        configuration.onTargetError = side == .target ? row.policy : (row.action == .report ? .ignore : .report)
        let (job, source, target) = try await Self.job(configuration, clock: clock)
        (side == .source ? source : target).fail(side == .source ? .read : .write, call: 3, with: row.errno)
        let calls = { side == .source ? source.calls(.read) : target.calls(.write) }
        let run = Task { try await job.run(on: workers) }
        switch row.action {
        case .report:
            do {
                try await run.value
                Issue.record("the job succeeded")
            } catch {
                #expect((error as? JobError)?.errno == row.errno)
            }
            #expect(calls().count == 3)
            #expect(job.owedRanges() == [2 * 65536..<8 * 65536])
        case .stop:
            await until { job.state == .paused }
            #expect(job.ioStatus == row.ioStatus && calls().count == 3)
            try job.resume()
            #expect(job.ioStatus == .ok)
            try await run.value
        case .ignore:
            await until { clock.deadlines == [.milliseconds(100)] }
            #expect(calls().count == 3 && job.state == .running)
            clock.advance(to: .milliseconds(100))
            try await run.value
        }
        if row.action != .report {
            // The same cluster was tried again, at once.
            #expect(calls()[2] == calls()[3])
            #expect(target.bytes == source.bytes && job.progress.offset == 8 * 65536)
        }
        #expect(await Self.told(job).contains("ERROR \(side.rawValue) \(row.action.rawValue)"))
    }

    /// A failed range is tried again cluster by cluster, so that one bad cluster does not stop its neighbours.
    @Test func badClusterKeepsOnlyItself() async throws {
        let workers = WorkerThreads(count: 2)
        defer { workers.stop() }
        let clock = ManualClock()
        var configuration = BackupJob.Configuration()
        configuration.onTargetError = .ignore
        let (job, source, target) = try await Self.job(configuration, clock: clock)
        target.fail(.write, call: 1, with: .ioError)
        let run = Task { try await job.run(on: workers) }
        await until { !clock.deadlines.isEmpty }
        clock.advance(to: .seconds(1))
        try await run.value
        #expect(target.calls(.write).first!.range == 0..<8 * 65536)
        #expect(target.calls(.write).dropFirst().allSatisfy { $0.range.count == 65536 })
        #expect(target.bytes == source.bytes)
    }

    /// Neither told nor acted on: the user wants no more of this job.
    @Test(arguments: [ErrorPolicy.report, .ignore, .stop])
    func failureAfterCancelIsNoFailure(_ policy: ErrorPolicy) async throws {
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let clock = ManualClock()
        var configuration = BackupJob.Configuration()
        configuration.onTargetError = policy
        configuration.autoDismiss = false
        let (job, _, target) = try await Self.job(configuration, clock: clock)
        target.fail(.write, call: 1, with: .ioError)
        target.hang(.write, call: 1) { job.cancel() }
        do {
            try await job.run(on: workers)
            Issue.record("the job succeeded")
        } catch {
            #expect(error.errno == .canceled)
        }
        #expect(!job.isPaused && job.ioStatus == .ok && clock.deadlines.isEmpty)
        try job.dismiss()
        #expect(await Self.told(job) == ["created", "running", "aborting", "CANCELLED 0", "concluded", "null"])
    }

    /// The time between two tries is kept whatever wakes the job meanwhile, and a pause is one all the while.
    @Test func pauseDoesNotShortenTheDelay() async throws {
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let clock = ManualClock()
        var configuration = BackupJob.Configuration()
        configuration.onTargetError = .ignore
        let (job, source, target) = try await Self.job(configuration, clock: clock)
        target.fail(.write, call: 1, with: .ioError)
        let run = Task { try await job.run(on: workers) }
        await until { clock.deadlines == [.milliseconds(100)] }
        try job.pause()
        await until { job.state == .paused }
        try job.resume()
        await until { clock.deadlines == [.milliseconds(100)] }
        #expect(target.calls(.write).count == 1)
        clock.advance(to: .milliseconds(100))
        try await run.value
        #expect(target.bytes == source.bytes)
    }

    @Test func cancelEndsIgnoring() async throws {
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let clock = ManualClock()
        var configuration = BackupJob.Configuration()
        configuration.onSourceError = .ignore
        let (job, source, _) = try await Self.job(configuration, clock: clock)
        source.failAlways(.read, with: .ioError)
        let run = Task { try await job.run(on: workers) }
        for time in 1...5 {
            await until { clock.deadlines == [.milliseconds(100 * time)] }
            #expect(source.calls(.read).count == time)
            clock.advance(to: .milliseconds(100 * time))
        }
        await until { clock.deadlines == [.milliseconds(600)] }
        job.cancel()
        await #expect(throws: JobError.self) { try await run.value }
        #expect(source.calls(.read).count == 6)
    }
}
