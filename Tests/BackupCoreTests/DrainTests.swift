// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Testing

@testable import BackupCore

/// Once a drain has begun nothing moves on the disk, neither for guests nor for jobs, until it ends.
@Suite(.timeLimit(.minutes(10))) struct DrainTests {
    static let cluster = 65536
    static let length = 8 * cluster

    /// A job from one disk with a guest to another, and a door at which the nth call of a kind waits.
    private struct Setup {
        let job: BackupJob
        let disk: TestDisk
        let source: GuestDevice
        let overlay: TestDisk
        let target: GuestDevice
        let isOpen = Locked(false)

        init(_ sync: SyncMode, maxWorkers: Int = 1) async throws {
            disk = TestDisk(name: "source", bytes: [UInt8](repeating: 7, count: length))
            source = GuestDevice(disk)
            overlay = TestDisk(name: "target", bytes: [UInt8](repeating: 0, count: length))
            target = GuestDevice(overlay)
            job = try await BackupJob(
                source: source, target: target,
                configuration: .init(sync: sync, maxWorkers: maxWorkers, maxChunk: UInt64(cluster)))
        }

        func hold(_ disk: TestDisk, _ operation: TestDisk.Operation, call: Int) {
            let isOpen = isOpen
            disk.hang(operation, call: call) { await until { isOpen.withLock { $0 } } }
        }

        func open() { isOpen.withLock { $0 = true } }

        func write(cluster: Int, byte: UInt8) async throws(BlockError) {
            let bytes = [UInt8](repeating: byte, count: 512)
            try await source.write(at: UInt64(cluster * DrainTests.cluster), from: bytes.span.bytes)
        }
    }

    /// A drain waits for the range that a worker has in hand, on either side, and no other is begun.
    @Test(arguments: [false, true], 1...3)
    func waitsForTheWorkers(ofTarget: Bool, maxWorkers: Int) async throws {
        let workers = WorkerThreads(count: 4)
        defer { workers.stop() }
        let setup = try await Setup(.full, maxWorkers: maxWorkers)
        for call in 2..<2 + maxWorkers { setup.hold(setup.overlay, .write, call: call) }
        try await setup.job.start(on: workers)
        await until { setup.overlay.calls(.write).count == 1 + maxWorkers }
        let isDrained = Locked(false)
        let device = ofTarget ? setup.target : setup.source
        let drain = Task {
            await device.beginDrain()
            isDrained.withLock { $0 = true }
        }
        try? await Task.sleep(for: .milliseconds(20))
        #expect(!isDrained.withLock { $0 })
        setup.open()
        await drain.value
        let calls = setup.overlay.calls.count + setup.disk.calls.count
        #expect(setup.job.state == .paused)
        #expect(setup.job.progress.remaining + setup.job.progress.offset == UInt64(Self.length))
        try? await Task.sleep(for: .milliseconds(20))
        #expect(setup.overlay.calls.count + setup.disk.calls.count == calls)
        device.endDrain()
        try await setup.job.wait()
        #expect(setup.overlay.bytes == setup.disk.bytes)
    }

    /// A drain of the target holds the guests of the source too: what they overwrite has to be written to the target.
    @Test func drainedTargetHoldsTheSourcesGuests() async throws {
        let workers = WorkerThreads(count: 2)
        defer { workers.stop() }
        let setup = try await Setup(.none)
        try await setup.job.start(on: workers)
        try await setup.write(cluster: 0, byte: 1)
        #expect(setup.overlay.calls(.write).count == 1)
        setup.hold(setup.overlay, .write, call: 2)
        let before = Task { try await setup.write(cluster: 1, byte: 1) }
        await until { setup.overlay.calls(.write).count == 2 }
        let isDrained = Locked(false)
        let drain = Task {
            await setup.target.beginDrain()
            isDrained.withLock { $0 = true }
        }
        await until { setup.job.state == .paused }
        let after = Task { try await setup.write(cluster: 2, byte: 1) }
        await until { setup.source.heldCount == 1 }
        #expect(!isDrained.withLock { $0 })
        setup.open()
        await drain.value
        try await before.value
        #expect(setup.overlay.calls(.write).count == 2 && setup.source.heldCount == 1)
        setup.target.endDrain()
        try await after.value
        #expect(setup.overlay.calls(.write).count == 3)
        setup.job.cancel()
        await #expect(throws: JobError.self) { try await setup.job.wait() }
        // Nothing is held any more, by anyone.
        await setup.target.beginDrain()
        try await setup.write(cluster: 3, byte: 1)
        setup.target.endDrain()
    }

    /// Guests that a drain of the target holds do not slip through when the job is cancelled under it.
    @Test func cancelledJobKeepsOffADrainedTarget() async throws {
        let workers = WorkerThreads(count: 4)
        defer { workers.stop() }
        for _ in 0..<50 {
            let setup = try await Setup(.none)
            try await setup.job.start(on: workers)
            await setup.target.beginDrain()
            let writes = (0..<4).map { cluster in
                Task(executorPreference: workers) { try await setup.write(cluster: cluster, byte: 1) }
            }
            await until { setup.source.heldCount == 4 }
            setup.job.cancel()
            for write in writes { try await write.value }
            #expect(setup.overlay.calls.isEmpty)
            setup.target.endDrain()
            await #expect(throws: JobError.self) { try await setup.job.wait() }
        }
    }

    /// Whoever waits for a drain of the target does not wait for the guests of a job that is over.
    @Test func drainOutlivesTheJob() async throws {
        let workers = WorkerThreads(count: 4)
        defer { workers.stop() }
        let setup = try await Setup(.full)
        for call in [8] { setup.hold(setup.overlay, .write, call: call) }
        // A guest's write that stays in flight on the source until the end.
        let isWritten = Locked(false)
        setup.disk.hang(.write, call: 1) { await until { isWritten.withLock { $0 } } }
        try await setup.job.start(on: workers)
        await until { setup.overlay.calls(.write).count == 8 }
        let drain = Task { await setup.target.beginDrain() }
        await until { setup.job.lifecycle.status.withLock { $0.drains > 0 } }
        let write = Task { try await setup.write(cluster: 0, byte: 1) }
        await until { setup.source.heldCount == 1 }
        // The last piece: the job ends, and lets the guest go.
        setup.open()
        await drain.value
        try await setup.job.wait()
        isWritten.withLock { $0 = true }
        try await write.value
        setup.target.endDrain()
    }

    /// A job that ends while its devices are drained lets go of them.
    @Test func cancelUnderADrain() async throws {
        let workers = WorkerThreads(count: 2)
        defer { workers.stop() }
        let setup = try await Setup(.full)
        await setup.target.beginDrain()
        try await setup.job.start(on: workers)
        await until { setup.job.state == .paused }
        setup.job.cancel()
        await #expect(throws: JobError.self) { try await setup.job.wait() }
        try await setup.write(cluster: 0, byte: 1)
        setup.target.endDrain()
        #expect(setup.overlay.calls.isEmpty)
    }

    /// A checkpoint is a point in time: a write that was copied before and lands after would be lost to it.
    @Test func checkpointWaitsForWritesInFlight() async throws {
        let workers = WorkerThreads(count: 2)
        defer { workers.stop() }
        let setup = try await Setup(.none)
        try await setup.job.start(on: workers)
        setup.hold(setup.disk, .write, call: 1)
        let first = Task { try await setup.write(cluster: 1, byte: 1) }
        await until { setup.disk.calls(.write).count == 1 }
        let checkpoint = Task { try await setup.job.checkpoint() }
        await until { setup.job.state == .paused }
        let second = Task { try await setup.write(cluster: 1, byte: 2) }
        await until { setup.source.heldCount == 1 }
        #expect(setup.job.owedRanges().count == 2, "the cluster is not owed again before the write has landed")
        setup.open()
        try await checkpoint.value
        try await first.value
        try await second.value
        #expect(setup.overlay.calls(.write).count == 2)
        #expect(setup.overlay.bytes[Self.cluster] == 1)
        setup.job.cancel()
        await #expect(throws: JobError.self) { try await setup.job.wait() }
    }
}
