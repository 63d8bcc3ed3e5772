// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Testing

@testable import BackupCore

/// A point in time is taken when no write is in flight: a write that has begun is part of what is backed up, and no
/// write begins meanwhile.
@Suite struct PointInTimeTests {
    enum Start: Sendable, CaseIterable {
        case run, start, transaction, checkpoint
    }

    /// What the test sees while a guest's write is held up in the disk, and nothing else can go on.
    private struct Sight: Sendable {
        var hasStarted: Bool
        var targetCalls: Int
        /// Requests that wait for the point in time to be taken.
        var held: Int
    }

    /// Steps come in an order that the seed decides, and "nothing else can go on" is known, not waited for.
    @Test(arguments: Start.allCases, 0..<6 as Range<UInt64>)
    func waitsForWritesInFlight(_ kind: Start, seed: UInt64) {
        let source = TestDisk(name: "source", bytes: [UInt8](repeating: 7, count: 4 * 65536))
        let target = TestDisk(name: "target", bytes: [UInt8](repeating: 0xEE, count: 4 * 65536))
        let guest = GuestDevice(source)
        let (clock, executor) = (ManualClock(), SeededExecutor(seed: seed))
        let gate = Locked<CheckedContinuation<Void, Never>?>(nil)
        source.hang(.write, call: 1) {
            await withCheckedContinuation { continuation in gate.withLock { $0 = continuation } }
        }
        let hasStarted = Locked(false)
        let sights = Locked<[Sight]>([])
        let problems = Locked<[String]>([])
        let isDone = executor.run(
            idle: {
                let waiter: CheckedContinuation<Void, Never>? = gate.withLock { $0.take() }
                guard let waiter else { return clock.advanceToNext() }
                let sight = Sight(
                    hasStarted: hasStarted.withLock { $0 }, targetCalls: target.calls.count, held: guest.heldCount)
                sights.withLock { $0.append(sight) }
                waiter.resume()
                return true
            },
            {
                do {
                    try await Self.live(kind, guest, target, executor, clock, hasStarted)
                } catch {
                    problems.withLock { $0.append("\(error)") }
                }
            })
        #expect(isDone && problems.withLock { $0 } == [])
        let sight = sights.withLock { $0 }
        #expect(sight.count == 1)
        // A checkpoint's job copied for the write when that began, before the checkpoint.
        #expect(sight.first?.hasStarted == false && sight.first?.targetCalls == (kind == .checkpoint ? 1 : 0))
        #expect(sight.first?.held == 1, "a second write was let in")
        let found = target.bytes
        #expect(found[0] == 1 && found[512] == 7 && found[65536] == 7)
        #expect(source.bytes[65536] == 2)
    }

    private static func live(
        _ kind: Start, _ guest: GuestDevice, _ target: TestDisk, _ executor: SeededExecutor, _ clock: ManualClock,
        _ hasStarted: Locked<Bool>
    ) async throws {
        let source = guest.disk as! TestDisk
        let configuration = BackupJob.Configuration(
            sync: kind == .checkpoint ? .none : .full, maxWorkers: 1, maxChunk: 65536)
        let action = BackupAction(
            id: "job0", source: guest, target: target, configuration: configuration, registry: JobRegistry())
        var job: BackupJob?
        if kind != .transaction {
            job = try await BackupJob(
                source: guest, target: target, configuration: configuration, registry: JobRegistry(), clock: clock)
        }
        if kind == .checkpoint {
            try await job?.takePointInTime()
            job?.workInBackground(on: executor, threads: 1)
        }
        let first = Task(executorPreference: executor) { try await write(guest, at: 0, byte: 1) }
        while source.calls(.write).isEmpty { await Task.yield() }
        let present = job
        let starting = Task(executorPreference: executor) {
            switch kind {
            case .run: try await present?.run(on: executor, threads: 1)
            case .start:
                try await present?.takePointInTime()
                hasStarted.withLock { $0 = true }
                present?.workInBackground(on: executor, threads: 1)
            case .transaction:
                try await Transaction([action]).perform(on: executor, threads: 1, clock: clock)
                hasStarted.withLock { $0 = true }
            case .checkpoint:
                try await present?.checkpoint()
                hasStarted.withLock { $0 = true }
            }
        }
        // Long enough for whoever starts without a look at the write.
        for _ in 0..<200 { await Task.yield() }
        let second = Task(executorPreference: executor) { try await write(guest, at: 65536, byte: 2) }
        try await first.value
        try await starting.value
        try await second.value
        if kind == .checkpoint {
            // What the disk held at the checkpoint, the first write included.
            try await write(guest, at: 0, byte: 3)
            job?.cancel()
        }
        _ = await (job ?? action.job)?.lifecycle.waitForEnd()
    }

    private static func write(_ guest: GuestDevice, at offset: UInt64, byte: UInt8) async throws(BlockError) {
        let bytes = [UInt8](repeating: byte, count: 512)
        try await guest.write(at: offset, from: bytes.span.bytes)
    }
}
