// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage
import TestSupport
import Testing

@testable import BackupCore

/// While a guest writes, the target gets what the disk held when the job started; a guest's request that can't be copied
/// first fails and changes nothing.
@Suite(.timeLimit(.minutes(10))) struct GuestWriteTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var sync: SyncMode
        var compress: Bool
        var faults: Bool
        var testDescription: String {
            "\(sync.rawValue)\(compress ? ", compressed" : "")\(faults ? ", with faults" : "")"
        }
    }

    static let cases = [SyncMode.full, .top, .none].flatMap { sync in
        [false, true].flatMap { compress in
            [false, true].map { Case(sync: sync, compress: compress, faults: $0) }
        }
    }

    static let length = 40 * 65536 + 1536

    /// Seeded guests write, zero, discard and read while the job copies, is paused and resumed, and fails now and then.
    @Test(arguments: cases)
    func targetHoldsThePointInTime(_ test: Case) async throws {
        let workers = WorkerThreads(count: 3)
        defer { workers.stop() }
        for seed in 0..<12 as Range<UInt64> {
            let image = TestImage(length: Self.length, seed: seed)
            let shuffle: @Sendable (TestDisk.Call) async -> Void = { call in
                // Another order in each run, whatever the seed: the result must not depend on it.
                for _ in 0..<call.range.lowerBound % 7 { await Task.yield() }
            }
            let source = TestDisk(name: "source", bytes: image.bytes, layout: image.layout, onCall: shuffle)
            let filler = [UInt8](repeating: 0xEE, count: Self.length)
            let target = TestDisk(
                name: "target", bytes: filler,
                capabilities: DeviceCapabilities(isReadOnly: false, canWriteCompressed: true),
                clusterSize: .success(4096), onCall: shuffle)
            if test.faults {
                for call in [2, 5, 6, 11] {
                    for kind in [TestDisk.Operation.write, .writeZeroes, .writeCompressed] {
                        target.fail(kind, call: call, with: .noSpace)
                    }
                    source.fail(.read, call: call + 1, with: .ioError)
                }
            }
            let guest = GuestDevice(source)
            var configuration = BackupJob.Configuration(
                sync: test.sync, compress: test.compress, maxWorkers: 2, maxChunk: 131_072)
            configuration.onSourceError = .ignore
            configuration.onTargetError = .ignore
            let clock = ManualClock()
            let job = try await BackupJob(
                source: guest, target: target, configuration: configuration, clock: clock)
            // Held at its point in time until all guests are under way.
            job.beginDrain()
            let run = Task { try await job.run(on: workers) }
            await until { job.state == .paused }
            await withTaskGroup(of: Void.self) { group in
                for guestNumber in 0..<3 as Range<UInt64> {
                    group.addTask { await Self.write(guest, seed: seed * 3 + guestNumber) }
                }
                group.addTask {
                    job.endDrain()
                    for _ in 0..<3 {
                        try? job.pause()
                        await Task.yield()
                        try? job.resume()
                        await Task.yield()
                    }
                }
            }
            let ticking = Task {
                while !Task.isCancelled {
                    clock.advance(to: clock.now + .milliseconds(100))
                    try? await Task.sleep(for: .microseconds(200))
                }
            }
            if test.sync == .none {
                job.cancel()
                await #expect(throws: JobError.self) { try await run.value }
            } else {
                try await run.value
                #expect(job.progress.remaining == 0 && job.owedRanges().isEmpty)
            }
            ticking.cancel()

            let held = image.allocatedClusters(of: 65536)
            let owed = job.owedRanges()
            for start in stride(from: 0, to: Self.length, by: 65536) {
                let end = min(start + 65536, Self.length)
                let isOwed = owed.contains { $0.contains(UInt64(start)) }
                let isHeld = test.sync != .top || held.contains(UInt64(start / 65536))
                // What is owed still is on the source.
                let place = isOwed ? source : target
                let expected = isOwed || isHeld ? image.bytes[start..<end] : filler[start..<end]
                #expect(
                    haveSameBytes(Array(place.bytes[start..<end]), Array(expected)),
                    "seed \(seed), cluster \(start / 65536), owed \(isOwed)")
            }
        }
    }

    /// One guest: requests of whole sectors, mostly short. A request that fails is given up.
    static func write(_ guest: GuestDevice, seed: UInt64) async {
        var random = SeededRandom(seed: seed)
        let sectors = length / 512
        // No byte of the disk's own is even, but for the zeroes.
        let content = [UInt8](repeating: 0x42, count: 200 * 512)
        var buffer = AlignedBuffer(count: 200 * 512)
        for _ in 0..<25 {
            let first = Int.random(in: 0..<sectors, using: &random)
            let count = min(
                Int.random(in: 1...(Bool.random(using: &random) ? 8 : 200), using: &random), sectors - first)
            let offset = UInt64(first * 512)
            let bytes = UInt64(count * 512)
            do throws(BlockError) {
                switch Int.random(in: 0..<6, using: &random) {
                case 0: try await guest.writeZeroes(at: offset, length: bytes)
                case 1: try await guest.discard(at: offset, length: bytes)
                case 2:
                    var span = buffer.mutablePrefix(count * 512)
                    try await guest.read(at: offset, into: &span)
                default: try await guest.write(at: offset, from: content.span.bytes.extracting(0..<count * 512))
                }
            } catch {
                guard error.errno == .noSpace || error.errno == .ioError else {
                    Issue.record("\(error)")
                    return
                }
            }
        }
    }

    // MARK: One at a time

    private func none(
        _ clusters: Int, onCall: (@Sendable (TestDisk.Call) async -> Void)? = nil
    ) async throws -> (job: BackupJob, guest: GuestDevice, source: TestDisk, target: TestDisk) {
        let source = TestDisk(name: "source", bytes: [UInt8](repeating: 7, count: clusters * 65536))
        let target = TestDisk(name: "target", bytes: [UInt8](repeating: 0, count: clusters * 65536), onCall: onCall)
        let guest = GuestDevice(source)
        let job = try await BackupJob(
            source: guest, target: target, configuration: .init(sync: .none), clock: ManualClock())
        return (job, guest, source, target)
    }

    private func write(_ guest: GuestDevice, at offset: UInt64, count: Int, byte: UInt8) async throws(BlockError) {
        let bytes = [UInt8](repeating: byte, count: count)
        try await guest.write(at: offset, from: bytes.span.bytes)
    }

    @Test func syncNoneCopiesWhatIsOverwritten() async throws {
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let (job, guest, _, target) = try await none(4)
        try await write(guest, at: 0, count: 512, byte: 1)
        #expect(target.calls.isEmpty, "the job has not started")
        let run = Task { try await job.run(on: workers) }
        // The job starts under a drain; once it sleeps, it has.
        await until { job.state == .running && !(job.lifecycle.clock as! ManualClock).deadlines.isEmpty }
        try await write(guest, at: 65536 + 100 * 512, count: 1024, byte: 1)
        try await write(guest, at: 65536, count: 512, byte: 2)
        #expect(target.calls(.write).map(\.range) == [65536..<131_072])
        try await guest.writeZeroes(at: 131_072 - 512, length: 1024)
        try await guest.discard(at: 3 * 65536, length: 512)
        #expect(target.calls(.write).map(\.range).dropFirst() == [131_072..<196_608, 196_608..<262_144])
        #expect(job.progress.offset == 3 * 65536 && job.progress.length == 4 * 65536)

        try await job.checkpoint()
        #expect(job.progress.offset == 3 * 65536)
        try await write(guest, at: 65536, count: 512, byte: 3)
        #expect(target.calls(.write).count == 4)
        #expect(target.bytes[65536] == 2)
        job.cancel()
        await #expect(throws: JobError.self) { try await run.value }
        try await write(guest, at: 0, count: 512, byte: 9)
        #expect(target.calls(.write).count == 4, "the hook is gone")
        await #expect(throws: JobError.self, "who copies nothing can have no checkpoint") { try await job.checkpoint() }
    }

    @Test func checkpointNeedsSyncNone() async throws {
        let (job, _, _) = try await PauseTests.job()
        await #expect(throws: JobError.self, "block checkpoint needs a sync=none backup") {
            try await job.checkpoint()
        }
    }

    @Test(arguments: [TestDisk.Operation.read, .write])
    func failedCopyFailsTheGuestsWriteOnly(_ failing: TestDisk.Operation) async throws {
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let (job, guest, source, target) = try await none(3)
        (failing == .read ? source : target).fail(failing, call: 1, with: .noSpace)
        let run = Task { try await job.run(on: workers) }
        await until { !(job.lifecycle.clock as! ManualClock).deadlines.isEmpty }
        await #expect(throws: BlockError.self) { try await write(guest, at: 65536, count: 512, byte: 1) }
        #expect(source.bytes == [UInt8](repeating: 7, count: 3 * 65536) && source.calls(.write).isEmpty)
        #expect(job.state == .running && job.owedRanges() == [0..<3 * 65536])
        try await write(guest, at: 65536, count: 512, byte: 1)
        #expect(source.bytes[65536] == 1 && target.bytes[65536] == 7)
        job.cancel()
        await #expect(throws: JobError.self) { try await run.value }
    }

    /// A guest copy that fails behind the job's back is made up for at the end.
    @Test func clusterOwedAgainBehindTheIteratorIsCopied() async throws {
        let workers = WorkerThreads(count: 2)
        defer { workers.stop() }
        let clusters: UInt64 = 6
        let gate = Locked<(guestMayFail: Bool, waiter: CheckedContinuation<Void, Never>?)>((false, nil))
        let target = TestDisk(
            name: "target", bytes: [UInt8](repeating: 0, count: Int(clusters) * 65536),
            onCall: { call in
                // The guest's copy of cluster 0 is slow: it fails when all others are done.
                guard call.operation == .write, call.range.lowerBound == 0 else { return }
                await withCheckedContinuation { continuation in
                    let isOpen = gate.withLock { gate in
                        if gate.guestMayFail { return true }
                        gate.waiter = continuation
                        return false
                    }
                    if isOpen { continuation.resume() }
                }
            })
        target.fail(.write, call: 6, with: .ioError)
        let source = TestDisk(name: "source", bytes: [UInt8](repeating: 7, count: Int(clusters) * 65536))
        let guest = GuestDevice(source)
        let job = try await BackupJob(
            source: guest, target: target, configuration: .init(maxWorkers: 1, maxChunk: 65536))
        job.beginDrain()
        let run = Task { try await job.run(on: workers) }
        await until { job.state == .paused }
        let guestWrite = Task { try await write(guest, at: 0, count: 512, byte: 1) }
        await until { gate.withLock { $0.waiter != nil } }
        job.endDrain()
        await until { job.progress.offset == (clusters - 1) * 65536 }
        let waiter: CheckedContinuation<Void, Never>? = gate.withLock { gate in
            gate.guestMayFail = true
            return gate.waiter
        }
        waiter?.resume()
        await #expect(throws: BlockError.self) { try await guestWrite.value }
        try await run.value
        #expect(source.calls(.write).isEmpty)
        #expect(target.bytes == source.bytes && job.progress.remaining == 0)
    }

    @Test func drainWaitsForRequestsAndHoldsNewOnes() async throws {
        let gate = Locked<(entered: Bool, waiter: CheckedContinuation<Void, Never>?)>((false, nil))
        let disk = TestDisk(
            bytes: [UInt8](repeating: 0, count: 65536),
            onCall: { call in
                guard call.range.lowerBound == 0 else { return }
                await withCheckedContinuation { continuation in
                    gate.withLock { gate in
                        gate.entered = true
                        gate.waiter = continuation
                    }
                }
            })
        let guest = GuestDevice(disk)
        let first = Task { try await write(guest, at: 0, count: 512, byte: 1) }
        await until { gate.withLock { $0.entered } }
        let isDrained = Locked(false)
        let drain = Task {
            await guest.beginDrain()
            isDrained.withLock { $0 = true }
        }
        // The drain has begun once a new request waits; then it must be waiting for the first.
        for _ in 0..<100 { await Task.yield() }
        #expect(!isDrained.withLock { $0 })
        let waiter: CheckedContinuation<Void, Never>? = gate.withLock { $0.waiter }
        waiter?.resume()
        try await first.value
        await drain.value
        let second = Task { try await write(guest, at: 4096, count: 512, byte: 1) }
        for _ in 0..<100 { await Task.yield() }
        #expect(disk.calls(.write).count == 1)
        guest.endDrain()
        try await second.value
        #expect(disk.calls(.write).count == 2)
    }
}
