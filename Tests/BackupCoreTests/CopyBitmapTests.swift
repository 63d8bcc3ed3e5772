// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps
import Testing

@testable import BackupCore

/// What a job owes its target when it starts, by sync mode, and what the scan of the top layer leaves of it.
@Suite(.timeLimit(.minutes(10))) struct CopyBitmapTests {
    static let clusters: UInt64 = 8
    /// The top layer holds a part of cluster 2 and all of cluster 5, as zeroes.
    static let layout = [
        TestDisk.Stretch(length: 2 * 65536 + 4096, kind: .backingData),
        TestDisk.Stretch(length: 4096, kind: .data),
        TestDisk.Stretch(length: 65536 - 8192 + 2 * 65536, kind: .unallocated),
        TestDisk.Stretch(length: 65536, kind: .zero),
        TestDisk.Stretch(length: 2 * 65536 - 512, kind: .backingData),
    ]

    struct Row: Sendable, CustomTestStringConvertible {
        var sync: SyncMode
        /// Clusters owed at the start, and those written when nothing interferes.
        var owed: [UInt64]
        var copied: [UInt64]
        var testDescription: String { sync.rawValue }
    }

    static let all = Array(0..<clusters)

    static let rows = [
        Row(sync: .full, owed: all, copied: all),
        Row(sync: .none, owed: all, copied: []),
        Row(sync: .top, owed: all, copied: [2, 5]),
        // The bitmap is finer than clusters, and rounded outward.
        Row(sync: .bitmap, owed: [1, 3, 4], copied: [1, 3, 4]),
        Row(sync: .incremental, owed: [1, 3, 4], copied: [1, 3, 4]),
    ]

    private static func clusters(of ranges: [Range<UInt64>]) -> [UInt64] {
        all.filter { cluster in ranges.contains { $0.contains(cluster * 65536) } }
    }

    @Test(arguments: rows)
    func owedAtTheStart(_ row: Row) async throws {
        let length = Int(Self.clusters) * 65536 - 512
        let source = GuestDevice(
            TestDisk(name: "source", bytes: [UInt8](repeating: 7, count: length), layout: Self.layout))
        let target = TestDisk(name: "target", bytes: [UInt8](repeating: 0xEE, count: length))
        try await source.addBitmap("b", granularity: 4096)
        source.withBitmaps { bitmaps in
            bitmaps.record(65536 + 100..<65536 + 101)
            bitmaps.record(4 * 65536 - 1..<4 * 65536 + 1)
        }
        var configuration = BackupJob.Configuration(sync: row.sync, maxWorkers: 1, maxChunk: 65536)
        if row.sync == .bitmap || row.sync == .incremental {
            configuration.bitmap = "b"
            configuration.bitmapMode = .onSuccess
        }
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let job = try await BackupJob(source: source, target: target, configuration: configuration)
        job.beginDrain()
        try await job.start(on: workers)
        #expect(Self.clusters(of: job.owedRanges()) == row.owed && job.state == .paused)
        #expect(job.progress.length == UInt64(row.owed.count) * 65536)
        job.endDrain()
        if row.sync == .none { job.cancel() }
        do { try await job.wait() } catch { #expect(row.sync == .none) }
        let bytes = target.bytes
        let copied = Self.all.filter { bytes[Int($0) * 65536] != 0xEE }
        #expect(copied == row.copied)
        if row.sync != .none { #expect(job.progress.offset == UInt64(row.copied.count) * 65536) }
    }

    @Test func cancelWithoutForceSparesAPausedJob() async throws {
        let (job, _, _) = try await PauseTests.job()
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        try job.pause()
        try await job.start(on: workers)
        do {
            try job.cancel(force: false)
            Issue.record("it was cancelled")
        } catch {
            #expect(error.description == "The block job for device 'job0' is currently paused")
        }
        #expect(job.isPaused && job.state == .paused)
        try job.cancel(force: true)
        await #expect(throws: JobError.self) { try await job.wait() }
    }
}
