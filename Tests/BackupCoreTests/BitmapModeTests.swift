// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps
import SystemPackage
import Testing

@testable import BackupCore

/// What becomes of a bitmap, by sync mode, bitmap mode and outcome.
///
/// 16 clusters, of which the bitmap has 0 to 3 dirty and the top layer holds 0 to 5. While cluster 0 is copied, the guest
/// writes cluster 10; a job that does not succeed ends after cluster 0.
@Suite(.timeLimit(.minutes(10))) struct BitmapModeTests {
    enum Ending: Sendable, CaseIterable {
        case success, cancelled, failed, neverStarted
    }

    struct Row: Sendable, CustomTestStringConvertible {
        var sync: SyncMode
        var mode: BitmapMode?
        /// Dirty clusters after success, and after the job failed or was cancelled.
        var success: [Int]
        var failure: [Int]
        var testDescription: String { "\(sync.rawValue), \(mode?.rawValue ?? "default")" }
    }

    static let rows = [
        Row(sync: .bitmap, mode: .never, success: [0, 1, 2, 3, 10], failure: [0, 1, 2, 3, 10]),
        Row(sync: .bitmap, mode: .onSuccess, success: [10], failure: [0, 1, 2, 3, 10]),
        Row(sync: .bitmap, mode: .always, success: [10], failure: [1, 2, 3, 10]),
        Row(sync: .incremental, mode: .onSuccess, success: [10], failure: [0, 1, 2, 3, 10]),
        Row(sync: .incremental, mode: nil, success: [10], failure: [0, 1, 2, 3, 10]),
        Row(sync: .full, mode: .onSuccess, success: [10], failure: [0, 1, 2, 3, 10]),
        Row(sync: .full, mode: .always, success: [10], failure: Array(1...15)),
        Row(sync: .top, mode: .onSuccess, success: [10], failure: [0, 1, 2, 3, 10]),
        Row(sync: .top, mode: .always, success: [10], failure: [1, 2, 3, 4, 5, 10]),
    ]

    static let length = 16 * 65536
    static let data = [UInt8](repeating: 9, count: 65536)

    /// A job on such a disk; `atCluster0` is called while that is being written.
    private static func make(
        _ row: Row, granularity: UInt64, isRecording: Bool = true, clock: any JobClock = SystemJobClock(),
        atCluster0: @escaping @Sendable (BackupJob, GuestDevice) async -> Void
    ) async throws -> (job: BackupJob, guest: GuestDevice, target: TestDisk) {
        let source = TestDisk(
            name: "source", bytes: [UInt8](repeating: 7, count: length),
            layout: [
                TestDisk.Stretch(length: 6 * 65536, kind: .data),
                TestDisk.Stretch(length: 10 * 65536, kind: .backingData),
            ])
        let guest = GuestDevice(source)
        let box = Locked<BackupJob?>(nil)
        let target = TestDisk(
            name: "target", bytes: [UInt8](repeating: 0, count: length),
            onCall: { call in
                guard call.operation == .write, call.range.lowerBound == 0 else { return }
                let job: BackupJob? = box.withLock { $0.take() }
                if let job { await atCluster0(job, guest) }
            })
        try await guest.addBitmap("b", granularity: granularity, isRecording: true)
        guest.withBitmaps { $0.record(0..<4 * 65536) }
        if !isRecording {
            try guest.withBitmaps { (bitmaps) throws(DirtyBitmapError) in
                try bitmaps.update("b") { (bitmap) throws(DirtyBitmapError) in try bitmap.setRecording(false) }
            }
        }
        var configuration = BackupJob.Configuration(sync: row.sync, maxWorkers: 1, maxChunk: 65536)
        configuration.bitmap = "b"
        configuration.bitmapMode = row.mode
        let job = try await BackupJob(
            id: "job0", source: guest, target: target, configuration: configuration, clock: clock)
        box.withLock { $0 = job }
        return (job, guest, target)
    }

    /// What was written between a job's creation and its start is part of its point in time, and copied.
    @Test(arguments: rows)
    func writesBeforeTheStartAreCopied(_ row: Row) async throws {
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let (job, guest, target) = try await Self.make(row, granularity: 65536) { _, _ in }
        try await guest.write(at: 12 * 65536, from: Self.data.span.bytes)
        try await job.run(on: workers)
        #expect(target.bytes[12 * 65536] == 9)
        let kept: [Range<UInt64>] = [0..<4 * 65536, 12 * 65536..<13 * 65536]
        #expect(Self.dirty(guest) == (row.mode == .never ? kept : []))
    }

    static func dirty(_ guest: GuestDevice) -> [Range<UInt64>] {
        guest.withBitmaps { $0.find("b")!.bits.dirtyRanges() }
    }

    /// The ranges of clusters, adjacent ones joined.
    static func ranges(_ clusters: [Int]) -> [Range<UInt64>] {
        var bitmap = try! DirtyBitmap(length: UInt64(length), granularity: 65536)
        for cluster in clusters { bitmap.set(UInt64(cluster) * 65536..<UInt64(cluster + 1) * 65536) }
        return bitmap.dirtyRanges()
    }

    @Test(arguments: rows, Ending.allCases)
    func bitmapAfter(_ row: Row, _ ending: Ending) async throws {
        for granularity in [512, 4096, 65536, 131_072] as [UInt64] {
            let workers = WorkerThreads(count: 1)
            defer { workers.stop() }
            let (job, guest, target) = try await Self.make(row, granularity: granularity) { job, guest in
                #expect(guest.withBitmaps { $0.infos[0].isBusy && $0.infos[0].isRecording })
                try? await guest.write(at: 10 * 65536, from: Self.data.span.bytes)
                #expect(Self.dirty(guest) == [0..<4 * 65536], "the bits don't change before the end")
                if ending == .cancelled { job.cancel() }
            }
            // The guest's cluster is copied first by a full backup, and counts.
            if ending == .failed { target.fail(.write, call: row.sync == .full ? 3 : 2, with: .ioError) }
            if ending == .neverStarted {
                try await guest.write(at: 10 * 65536, from: Self.data.span.bytes)
                job.cancel()
            }
            do {
                try await job.run(on: workers)
                #expect(ending == .success)
            } catch {
                #expect(ending != .success)
            }
            var expected = try DirtyBitmap(length: UInt64(Self.length), granularity: granularity)
            let clusters =
                switch ending {
                case .success: row.success
                case .cancelled, .failed: row.failure
                case .neverStarted: [0, 1, 2, 3, 10]
                }
            for range in Self.ranges(clusters) { expected.set(range) }
            #expect(Self.dirty(guest) == expected.dirtyRanges())
            let info = guest.withBitmaps { $0.infos[0] }
            #expect(!info.isBusy && info.isRecording && info.name == "b" && info.granularity == granularity)
            if ending == .success {
                let copied = row.sync == .full ? Self.length : (row.sync == .top ? 6 : 4) * 65536
                #expect(job.progress.offset == UInt64(copied) && job.progress.remaining == 0)
                #expect(target.bytes.count { $0 == 7 } == copied)
            }
        }
    }

    /// Of bits that are finer than clusters, whole clusters are kept.
    @Test func whatIsOwedIsWholeClusters() async throws {
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let row = Row(sync: .bitmap, mode: .always, success: [], failure: [])
        let (job, guest, _) = try await Self.make(row, granularity: 4096) { job, guest in
            try? await guest.write(at: 10 * 65536, from: Self.data.span.bytes)
            job.cancel()
        }
        await #expect(throws: JobError.self) { try await job.run(on: workers) }
        #expect(guest.withBitmaps { $0.infos[0].count } == 64 * 4096)
    }

    /// A bitmap that doesn't record learns nothing from the guest, and still does not afterwards.
    @Test(arguments: rows.filter { $0.mode != nil }, [Ending.success, .cancelled])
    func disabledBitmap(_ row: Row, _ ending: Ending) async throws {
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let (job, guest, _) = try await Self.make(row, granularity: 65536, isRecording: false) { job, guest in
            #expect(guest.withBitmaps { $0.infos[0].isBusy && !$0.infos[0].isRecording })
            try? await guest.write(at: 10 * 65536, from: Self.data.span.bytes)
            if ending == .cancelled { job.cancel() }
        }
        do { try await job.run(on: workers) } catch { #expect(ending == .cancelled) }
        // A full backup that copied cluster 10 owes it no more.
        let expected = (ending == .success ? row.success : row.failure).filter { $0 != 10 }
        #expect(Self.dirty(guest) == Self.ranges(expected))
        #expect(guest.withBitmaps { !$0.infos[0].isRecording && !$0.infos[0].isBusy })
    }

    /// While a job waits to be finalised, nothing is decided yet.
    @Test(arguments: [false, true])
    func decidedWhenFinalised(isCancelled: Bool) async throws {
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let source = GuestDevice(TestDisk(name: "source", bytes: [UInt8](repeating: 7, count: Self.length)))
        try await source.addBitmap("b", granularity: 65536)
        source.withBitmaps { $0.record(0..<4 * 65536) }
        var configuration = BackupJob.Configuration(sync: .incremental)
        configuration.bitmap = "b"
        configuration.autoFinalize = false
        let job = try await BackupJob(
            source: source, target: TestDisk(bytes: [UInt8](repeating: 0, count: Self.length)),
            configuration: configuration)
        let run = Task { try await job.run(on: workers) }
        await until { job.state == .pending }
        #expect(Self.dirty(source) == Self.ranges([0, 1, 2, 3]) && source.withBitmaps { $0.infos[0].isBusy })
        try await source.write(at: 10 * 65536, from: Self.data.span.bytes)
        if isCancelled { job.cancel() } else { try job.finalize() }
        do {
            try await run.value
            #expect(!isCancelled)
        } catch {
            #expect(isCancelled)
        }
        #expect(Self.dirty(source) == Self.ranges(isCancelled ? [0, 1, 2, 3, 10] : [10]))
    }

    /// A cluster that was given up is not in the target, so the next backup must try it again.
    @Test func unreadableClustersStayDirty() async throws {
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let disk = TestDisk(name: "source", bytes: [UInt8](repeating: 7, count: Self.length))
        let source = GuestDevice(disk)
        try await source.addBitmap("b", granularity: 65536)
        var configuration = BackupJob.Configuration(sync: .full, maxWorkers: 1, maxChunk: 65536)
        configuration.bitmap = "b"
        configuration.bitmapMode = .onSuccess
        configuration.onSourceError = .ignore
        configuration.sourceTries = 2
        disk.fail(.read, call: 3, with: .ioError)
        disk.fail(.read, call: 4, with: .ioError)
        let target = TestDisk(bytes: [UInt8](repeating: 0xEE, count: Self.length))
        let job = try await BackupJob(source: source, target: target, configuration: configuration)
        try await job.run(on: workers)
        #expect(job.unreadableRanges() == Self.ranges([2]) && Self.dirty(source) == Self.ranges([2]))
        #expect(target.bytes[2 * 65536..<3 * 65536].allSatisfy { $0 == 0 } && target.bytes[3 * 65536] == 7)
        #expect(job.progress.offset == job.progress.length)
    }
}
