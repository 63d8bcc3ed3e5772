// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps
import SystemPackage
import TestSupport
import TestSupport
import Testing

@testable import BackupCore

/// Mistakes that a backup job is known to make, and that this one does not: one test for each.
@Suite(.timeLimit(.minutes(10))) struct HazardTests {
    private static func run(
        _ source: any BlockDevice, _ target: any BlockDevice, _ configuration: BackupJob.Configuration
    ) async throws -> BackupJob {
        let workers = WorkerThreads(count: 2)
        defer { workers.stop() }
        let job = try await BackupJob(source: source, target: target, configuration: configuration)
        try await job.run(on: workers)
        return job
    }

    /// H1: a guest's copy that fails owes a cluster again that the background copy has long passed.
    @Test func clusterThatAGuestFailedToCopyIsNotForgotten() async throws {
        try await GuestWriteTests().clusterOwedAgainBehindTheIteratorIsCopied()
    }

    /// H2: what one query told about a run must not be believed after the next query failed.
    @Test func aFailedQuerySaysNothing() async throws {
        let clusters = 12
        let source = TestDisk(
            name: "source", bytes: [UInt8](repeating: 7, count: clusters * 65536),
            layout: [TestDisk.Stretch(length: UInt64(clusters) * 65536, kind: .backingData)])
        let target = TestDisk(name: "target", bytes: [UInt8](repeating: 0, count: clusters * 65536))
        let guest = GuestDevice(source)
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let job = try await BackupJob(source: guest, target: target, configuration: .init(sync: .top, maxWorkers: 1))
        // Held before its scan, so that only the guest asks.
        job.beginDrain()
        try await job.start(on: workers)
        let bytes = [UInt8](repeating: 9, count: 3 * 65536)
        source.fail(.blockStatus, call: 1, with: .ioError)
        try await guest.write(at: 65536, from: bytes.span.bytes.extracting(0..<512))
        // The first is copied for want of knowledge, and only that.
        #expect(target.calls(.write).map(\.range) == [65536..<131_072])
        #expect(job.owedRanges() == [0..<65536, 131_072..<UInt64(clusters) * 65536])
        // Now a query that tells, which holds far beyond the request.
        try await guest.write(at: 4 * 65536, from: bytes.span.bytes.extracting(0..<512))
        #expect(job.owedRanges() == [0..<65536, 131_072..<4 * 65536])
        source.fail(.blockStatus, call: source.calls(.blockStatus).count + 1, with: .ioError)
        try await guest.write(at: 0, from: bytes.span.bytes.extracting(0..<512))
        #expect(target.calls(.write).map(\.range) == [65536..<131_072, 0..<65536])
        job.endDrain()
        try await job.wait()
        #expect(target.calls(.write).count == 2)
    }

    /// H3: the short last cluster is no longer than the disk, on the offloaded path as on the other.
    @Test(arguments: [1, 511, 512, 65537, 3 * 65536 + 1, 2 << 20 + 7])
    func offloadEndsWithTheDisk(length: Int) async throws {
        let bytes = [UInt8](repeating: 7, count: length)
        let source = TestDisk(bytes: bytes, storage: TestStorage(bytes))
        let target = TestDisk(
            bytes: [UInt8](repeating: 0, count: length),
            capabilities: DeviceCapabilities(isReadOnly: false, canCopyRange: true), clusterSize: .success(65536))
        let job = try await Self.run(source, target, .init())
        #expect(target.outOfRange == 0 && source.outOfRange == 0 && haveSameBytes(target.bytes, bytes))
        #expect(job.progress.counters.offloaded == UInt64(length) && source.calls(.read).isEmpty)
    }

    /// H4: a job that succeeded has done all of its length, whatever the tail.
    @Test(arguments: [(4608, 65536, 65536), (4608, 2 << 20, 2 << 20), (65537, 0, 131_072)] as [(Int, UInt64, UInt64)])
    func offsetEndsAtLength(length: Int, targetCluster: UInt64, expected: UInt64) async throws {
        let target = TestDisk(bytes: [UInt8](repeating: 0, count: length), clusterSize: .success(targetCluster))
        let job = try await Self.run(TestDisk(bytes: [UInt8](repeating: 7, count: length)), target, .init())
        #expect(job.progress.offset == expected && job.progress.length == expected)
    }

    /// H5: a job that never started leaves a bitmap of mode “always” as it was.
    @Test func unstartedJobKeepsTheBitmap() async throws {
        let source = GuestDevice(TestDisk(name: "source", bytes: [UInt8](repeating: 7, count: 1 << 20)))
        try await source.addBitmap("b", granularity: 65536)
        source.withBitmaps { $0.record(0..<131_072) }
        var configuration = BackupJob.Configuration(sync: .bitmap)
        configuration.bitmap = "b"
        configuration.bitmapMode = .always
        let job = try await BackupJob(
            source: source, target: TestDisk(bytes: [UInt8](repeating: 0, count: 1 << 20)),
            configuration: configuration)
        job.cancel()
        #expect(source.withBitmaps { $0.find("b")?.bits.dirtyRanges() } == [0..<131_072])
    }

    /// H6: no transfer is longer than a device takes, offloaded ones too.
    @Test(arguments: [4096, 65536, 100_000] as [UInt64])
    func chunksKeepToTheLongestTransfer(limit: UInt64) async throws {
        let bytes = [UInt8](repeating: 7, count: 1_000_000)
        for isOffloaded in [false, true] {
            let source = TestDisk(bytes: bytes, storage: isOffloaded ? TestStorage(bytes) : nil)
            let target = TestDisk(
                bytes: [UInt8](repeating: 0, count: bytes.count),
                capabilities: DeviceCapabilities(isReadOnly: false, canCopyRange: true, maximumTransfer: limit),
                clusterSize: .success(4096))
            _ = try await Self.run(source, target, .init(maxChunk: 1 << 20))
            #expect(haveSameBytes(target.bytes, bytes))
            let transfers = source.calls(.read) + target.calls(.write) + target.calls(.copyRange)
            #expect(transfers.allSatisfy { UInt64($0.range.count) <= limit })
            #expect(target.calls(isOffloaded ? .write : .copyRange).isEmpty)
        }
    }

    /// H7: a target of another length is refused.
    @Test(arguments: [(1 << 20) - 512, (1 << 20) + 512])
    func lengthsAreCompared(targetLength: Int) async {
        let source = TestDisk(bytes: [UInt8](repeating: 7, count: 1 << 20))
        let target = TestDisk(bytes: [UInt8](repeating: 0, count: targetLength))
        await #expect(throws: JobError.self) { try await Self.run(source, target, .init()) }
        #expect(target.calls.isEmpty)
    }

    /// H8: a source that can't be read, ignored, is asked ten times a second and not as often as can be.
    @Test func ignoringTakesItsTime() async throws {
        let clock = ManualClock()
        let source = TestDisk(bytes: [UInt8](repeating: 7, count: 65536))
        source.failAlways(.read, with: .ioError)
        var configuration = BackupJob.Configuration()
        configuration.onSourceError = .ignore
        let job = try await BackupJob(
            source: source, target: TestDisk(bytes: [UInt8](repeating: 0, count: 65536)),
            configuration: configuration, clock: clock)
        let executor = SeededExecutor(seed: 1)
        let isDone = executor.run(idle: { clock.advanceToNext() }) {
            let ending = Task(executorPreference: executor) {
                await clock.sleep(.seconds(10))
                job.cancel()
            }
            try? await job.run(on: executor, threads: 1)
            await ending.value
        }
        #expect(isDone && (95...101).contains(source.calls(.read).count))
    }
}
