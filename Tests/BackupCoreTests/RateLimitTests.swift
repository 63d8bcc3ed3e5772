// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage
import Testing

@testable import BackupCore

/// Work is let in up to a slice's quota; more than that is waited for.
@Suite(.timeLimit(.minutes(10))) struct RateLimitTests {
    @Test func noLimitNeverWaits() {
        var limit = RateLimit(speed: 0)
        limit.charge(.max)
        #expect(limit.nextStart(now: .seconds(1)) == nil)
    }

    /// What was done before there was a limit is not held against the job afterwards.
    @Test func aLimitStartsAfresh() {
        var limit = RateLimit(speed: 0)
        limit.charge(.max)
        limit.set(speed: 1000)
        #expect(limit.nextStart(now: .seconds(1)) == nil)
    }

    @Test func waitsForWhatTheChargeIsWorth() {
        var limit = RateLimit(speed: 1_000_000)
        #expect(limit.quota == 100_000)
        #expect(limit.nextStart(now: .seconds(5)) == nil)
        limit.charge(99_999)
        #expect(limit.nextStart(now: .seconds(5)) == nil)
        limit.charge(150_001)
        // Two and a half slices from the start of this one.
        #expect(limit.nextStart(now: .seconds(5)) == .milliseconds(5250))
        #expect(limit.nextStart(now: .milliseconds(5249)) == .milliseconds(5250))
        #expect(limit.nextStart(now: .milliseconds(5250)) == nil)
    }

    @Test func idleTimeGivesNoCredit() {
        var limit = RateLimit(speed: 1000)
        limit.charge(50)
        #expect(limit.nextStart(now: .seconds(60)) == nil)
        limit.charge(100)
        #expect(limit.nextStart(now: .seconds(60)) == .milliseconds(60_100))
    }

    @Test func takesBackWhatWasNotDone() {
        var limit = RateLimit(speed: 1000)
        #expect(limit.nextStart(now: .seconds(1)) == nil)
        limit.charge(500)
        limit.refund(450)
        #expect(limit.nextStart(now: .seconds(1)) == nil)
    }

    @Test func absurdSpeedsDoNotTrap() {
        for speed in [1, 9, UInt64.max] {
            var limit = RateLimit(speed: speed)
            limit.charge(.max)
            limit.charge(.max)
            _ = limit.nextStart(now: .seconds(1))
            limit.refund(.max)
        }
    }

    private func job(
        clusters: Int, speed: UInt64, clock: ManualClock, maxWorkers: Int = 1
    ) async throws -> (BackupJob, TestDisk) {
        let bytes = [UInt8](repeating: 1, count: clusters * 65536)
        let target = TestDisk(bytes: [UInt8](repeating: 0, count: bytes.count))
        var configuration = BackupJob.Configuration(maxWorkers: maxWorkers, maxChunk: 65536)
        configuration.speed = speed
        let job = try await BackupJob(
            source: TestDisk(bytes: bytes), target: target, configuration: configuration, clock: clock)
        return (job, target)
    }

    @Test(arguments: [1, 3])
    func oneClusterEachSecond(maxWorkers: Int) async throws {
        let workers = WorkerThreads(count: 2)
        defer { workers.stop() }
        let clock = ManualClock()
        clock.advance(to: .seconds(100))
        let (job, target) = try await job(clusters: 4, speed: 65536, clock: clock, maxWorkers: maxWorkers)
        let run = Task { try await job.run(on: workers) }
        for second in 1...3 {
            await until { target.calls(.write).count == second && clock.deadlines.count == maxWorkers }
            // The quota of a slice is rounded down, so a cluster takes a little longer than a second.
            let next = clock.deadlines[0]
            #expect(next >= .seconds(100 + second) && next < .milliseconds(100_000 + second * 1000 + second))
            #expect(job.progress.offset == UInt64(second * 65536))
            clock.advance(to: next - .microseconds(1))
            #expect(target.calls(.write).count == second)
            clock.advance(to: next)
        }
        try await run.value
        #expect(job.progress.offset == 4 * 65536)
    }

    @Test(arguments: [0, 1 << 40] as [UInt64])
    func aHigherSpeedWakesTheSleeper(speed: UInt64) async throws {
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let clock = ManualClock()
        let (job, target) = try await job(clusters: 20, speed: 65536, clock: clock)
        let run = Task { try await job.run(on: workers) }
        await until { clock.deadlines.count == 1 }
        try job.setSpeed(speed)
        if speed != 0 {
            // What was charged counts at the new speed, and no longer fills a slice.
            await until { target.calls(.write).count > 1 }
        }
        try await run.value
        #expect(job.progress.remaining == 0)
    }

    @Test func aLowerSpeedDoesNot() async throws {
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let clock = ManualClock()
        let (job, target) = try await job(clusters: 2, speed: 65536, clock: clock)
        let run = Task { try await job.run(on: workers) }
        await until { clock.deadlines.count == 1 }
        let deadline = clock.deadlines[0]
        try job.setSpeed(1)
        #expect(clock.deadlines == [deadline] && target.calls(.write).count == 1)
        job.cancel()
        await #expect(throws: JobError.self) { try await run.value }
    }

    /// A limit is for what is moved: a disk that is mostly hole takes no time for the hole.
    @Test func zeroesAreFree() async throws {
        let workers = WorkerThreads(count: 2)
        defer { workers.stop() }
        let clock = ManualClock()
        let source = SparseDisk(length: 1 << 40, data: [1 << 30..<(1 << 30) + 65536, 1 << 39..<(1 << 39) + 65536])
        var configuration = BackupJob.Configuration(maxWorkers: 1)
        configuration.speed = 65536
        let job = try await BackupJob(
            source: source, target: SparseDisk(length: 1 << 40), configuration: configuration, clock: clock)
        let run = Task { try await job.run(on: workers) }
        await until { clock.deadlines.count == 1 }
        #expect(job.progress.counters.zero >= 1 << 30 && job.progress.counters.read == 65536)
        clock.advance(to: clock.deadlines[0])
        // What comes behind the second cluster need not wait for the time that it is worth.
        await until { job.state == .null || !clock.deadlines.isEmpty }
        _ = clock.advanceToNext()
        try await run.value
        #expect(job.progress.counters.read == 2 * 65536 && clock.now < .seconds(3))
    }

    /// A worker that sleeps for the speed's sake does not keep the job from standing still where another failed.
    @Test func failureWakesTheSleeper() async throws {
        let workers = WorkerThreads(count: 2)
        defer { workers.stop() }
        let clock = ManualClock()
        let bytes = [UInt8](repeating: 1, count: 4 * 65536)
        let target = TestDisk(bytes: [UInt8](repeating: 0, count: bytes.count))
        target.fail(.write, call: 1, with: .ioError)
        target.hang(.write, call: 1) { await until { clock.deadlines.count == 1 } }
        var configuration = BackupJob.Configuration(maxWorkers: 2, maxChunk: 65536)
        configuration.speed = 65536
        configuration.onTargetError = .stop
        let job = try await BackupJob(
            source: TestDisk(bytes: bytes), target: target, configuration: configuration, clock: clock)
        let run = Task { try await job.run(on: workers) }
        await until { job.state == .paused }
        #expect(job.ioStatus == .failed && clock.now == .zero)
        job.cancel()
        await #expect(throws: JobError.self) { try await run.value }
    }

    @Test func cancelWakesTheSleeper() async throws {
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let clock = ManualClock()
        let (job, target) = try await job(clusters: 2, speed: 1, clock: clock)
        let run = Task { try await job.run(on: workers) }
        await until { clock.deadlines.count == 1 }
        job.cancel()
        await #expect(throws: JobError.self) { try await run.value }
        #expect(target.calls(.write).count == 1 && clock.deadlines.isEmpty)
    }
}
