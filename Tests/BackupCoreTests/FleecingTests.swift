// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage
import TestSupport
import Testing

@testable import BackupCore

/// A target that shows its source where nothing was copied yet: whoever reads it sees the point in time, whatever the
/// guest writes meanwhile.
@Suite(.timeLimit(.minutes(10))) struct FleecingTests {
    static let length = 4 * 65536

    private static func isSeven(_ buffer: borrowing AlignedBuffer, _ count: Int) -> Bool {
        buffer.prefix(count).withUnsafeBytes { bytes in bytes.allSatisfy { $0 == 7 } }
    }

    /// Readers and a guest in every order that 100 seeds make.
    @Test func readersSeeThePointInTime() {
        for seed in 0..<100 as Range<UInt64> {
            let clock = ManualClock()
            let disk = TestDisk(
                name: "source", bytes: [UInt8](repeating: 7, count: Self.length), onCall: { _ in await Task.yield() })
            let source = GuestDevice(disk)
            let overlay = MemoryDevice(
                name: "overlay", length: UInt64(Self.length), clusterSize: 65536, backing: source)
            let target = GuestDevice(overlay)
            let wrong = Locked(0)
            let executor = SeededExecutor(seed: seed)
            let isDone = executor.run(idle: { clock.advanceToNext() }) {
                guard
                    let job = try? await BackupJob(
                        source: source, target: target, configuration: .init(sync: .none), clock: clock),
                    (try? job.begin()) != nil
                else {
                    Issue.record("no job")
                    return
                }
                job.workInBackground(on: executor, threads: 1)
                await withTaskGroup(of: Void.self) { group in
                    for guest in 0..<2 as Range<UInt64> {
                        group.addTask { await Self.write(source, seed: seed * 2 + guest) }
                    }
                    for reader in 0..<3 as Range<UInt64> {
                        group.addTask {
                            let isRight = await Self.read(target, seed: seed * 3 + reader)
                            if !isRight { wrong.withLock { $0 += 1 } }
                        }
                    }
                }
                job.cancel()
                _ = await job.lifecycle.waitForEnd()
            }
            #expect(isDone && wrong.withLock { $0 } == 0, "seed \(seed)")
        }
    }

    private static func write(_ source: GuestDevice, seed: UInt64) async {
        var random = SeededRandom(seed: seed)
        let content = [UInt8](repeating: 9, count: 4096)
        for _ in 0..<10 {
            let offset = UInt64.random(in: 0...UInt64(length / 4096 - 1), using: &random) * 4096
            let bytes = content.span.bytes
            do { try await source.write(at: offset, from: bytes) } catch { Issue.record("\(error)") }
        }
    }

    private static func read(_ target: GuestDevice, seed: UInt64) async -> Bool {
        var random = SeededRandom(seed: seed &+ 99)
        var buffer = AlignedBuffer(count: 65536)
        for _ in 0..<12 {
            let count = 512 * Int.random(in: 1...128, using: &random)
            let offset = UInt64.random(in: 0...UInt64((length - count) / 512), using: &random) * 512
            var span = buffer.mutablePrefix(count)
            do { try await target.read(at: offset, into: &span) } catch { return false }
            if !isSeven(buffer, count) { return false }
        }
        return true
    }

    /// A reader that is on its way to the source holds up the copy, and with it the guest.
    @Test func aReaderInFlightIsWaitedFor() async throws {
        let gate = Gate()
        let isReading = Locked(false)
        let disk = TestDisk(
            name: "source", bytes: [UInt8](repeating: 7, count: Self.length),
            onCall: { call in
                guard call.operation == .read, call.range.count == 512 else { return }
                isReading.withLock { $0 = true }
                await gate.wait()
            })
        let source = GuestDevice(disk)
        let target = GuestDevice(
            MemoryDevice(name: "overlay", length: UInt64(Self.length), clusterSize: 65536, backing: source))
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let job = try await BackupJob(
            source: source, target: target, configuration: .init(sync: .none), clock: ManualClock())
        try await job.start(on: workers)
        let reader = Task { () -> Bool in
            var buffer = AlignedBuffer(count: 512)
            var span = buffer.mutableBytes
            try await target.read(at: 4096, into: &span)
            return Self.isSeven(buffer, 512)
        }
        await until { isReading.withLock { $0 } }
        let writer = Task {
            let bytes = [UInt8](repeating: 9, count: 512)
            try await source.write(at: 4096, from: bytes.span.bytes)
        }
        await until { target.waitingCount == 1 }
        #expect(disk.calls(.write).isEmpty)
        // A later reader of the same cluster waits too: what it would find is about to change.
        let late = Task { () -> Bool in
            var buffer = AlignedBuffer(count: 512)
            var span = buffer.mutableBytes
            try await target.read(at: 8192, into: &span)
            return Self.isSeven(buffer, 512)
        }
        await until { target.waitingCount == 2 }
        gate.open()
        #expect(try await reader.value)
        try await writer.value
        #expect(try await late.value)
        #expect(disk.bytes[4096] == 9)
        job.cancel()
        await #expect(throws: JobError.self) { try await job.wait() }
    }

    /// Where the source is not behind the target, readers of the target are of no concern.
    @Test func otherTargetsDontSerialise() async throws {
        let source = GuestDevice(TestDisk(name: "source", bytes: [UInt8](repeating: 7, count: Self.length)))
        let plain = GuestDevice(TestDisk(name: "target", bytes: [UInt8](repeating: 0, count: Self.length)))
        let overlay = MemoryDevice(length: UInt64(Self.length), backing: source)
        #expect(
            !plain.isBacked(by: source) && overlay.isBacked(by: source) && GuestDevice(overlay).isBacked(by: source))
        #expect(MemoryDevice(length: UInt64(Self.length), backing: GuestDevice(overlay)).isBacked(by: source.disk))
    }

    /// Draining a target does not hold up the job's writes that the drained source waits for.
    @Test func drainOfSourceAndTargetEnds() async throws {
        let gate = Gate()
        let isCopying = Locked(false)
        let targetDisk = TestDisk(
            name: "target", bytes: [UInt8](repeating: 0, count: Self.length),
            onCall: { call in
                guard call.operation == .write, call.range.lowerBound == 0 else { return }
                isCopying.withLock { $0 = true }
                await gate.wait()
            })
        let source = GuestDevice(TestDisk(name: "source", bytes: [UInt8](repeating: 7, count: Self.length)))
        let target = GuestDevice(targetDisk)
        let workers = WorkerThreads(count: 2)
        defer { workers.stop() }
        let job = try await BackupJob(
            source: source, target: target, configuration: .init(sync: .none), clock: ManualClock())
        try await job.start(on: workers)
        let bytes = [UInt8](repeating: 9, count: 3 * 65536)
        // Three clusters: the second is copied when the drain is long under way.
        let writer = Task { try await source.write(at: 0, from: bytes.span.bytes) }
        await until { isCopying.withLock { $0 } }
        let drain = Task {
            await target.beginDrain()
            await source.beginDrain()
        }
        await until { job.lifecycle.status.withLock { $0.drains } > 0 }
        gate.open()
        await drain.value
        try await writer.value
        #expect(targetDisk.bytes[..<(3 * 65536)].allSatisfy { $0 == 7 })
        #expect(job.state == .paused)
        source.endDrain()
        target.endDrain()
        #expect(job.state == .running)
        job.cancel()
        await #expect(throws: JobError.self) { try await job.wait() }
    }
}
