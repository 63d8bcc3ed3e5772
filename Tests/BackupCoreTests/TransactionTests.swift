// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps
import SystemPackage
import Testing

@testable import BackupCore

/// A transaction is done as a whole, at one point in time, or leaves everything as it was; grouped jobs end alike.
@Suite(.timeLimit(.minutes(10))) struct TransactionTests {
    static let length = 8 * 65536

    /// One disk with a bitmap `b` of which clusters 0 and 1 are dirty, and where it is backed up to.
    struct Drive {
        let disk: TestDisk
        let source: GuestDevice
        let target: TestDisk

        init(
            _ name: String, onSource: (@Sendable (TestDisk.Call) async -> Void)? = nil,
            onTarget: (@Sendable (TestDisk.Call) async -> Void)? = nil
        ) async throws {
            disk = TestDisk(name: name, bytes: [UInt8](repeating: 7, count: length), onCall: onSource)
            source = GuestDevice(disk)
            target = TestDisk(
                name: "\(name)-target", bytes: [UInt8](repeating: 0, count: length), onCall: onTarget)
            try await source.addBitmap("b", granularity: 65536)
            source.withBitmaps { $0.record(0..<131_072) }
        }

        var dirty: [Range<UInt64>] { source.withBitmaps { $0.find("b")!.bits.dirtyRanges() } }

        func backup(
            _ id: String, _ registry: JobRegistry, sync: SyncMode = .incremental, mode: BitmapMode = .onSuccess,
            autoFinalize: Bool = true
        ) -> BackupAction {
            var configuration = BackupJob.Configuration(sync: sync, maxWorkers: 1, maxChunk: 65536)
            if sync != .none {
                configuration.bitmap = "b"
                configuration.bitmapMode = mode
            }
            configuration.autoFinalize = autoFinalize
            return BackupAction(
                id: id, source: source, target: target, configuration: configuration, registry: registry)
        }
    }

    static func write(_ drive: Drive, cluster: Int) async throws {
        let bytes = [UInt8](repeating: 9, count: 512)
        try await drive.source.write(at: UInt64(cluster) * 65536, from: bytes.span.bytes)
    }

    // MARK: Undo

    /// Whatever was done before the last action fails is undone.
    @Test func everythingIsUndone() async throws {
        let workers = WorkerThreads(count: 2)
        defer { workers.stop() }
        let drive = try await Drive("a")
        let other = try await Drive("o")
        try await drive.source.addBitmap("second", granularity: 512, isRecording: false)
        try await drive.source.addBitmap("third", granularity: 512)
        drive.source.withBitmaps { $0.record(7 * 65536..<8 * 65536) }
        let registry = JobRegistry()
        let before = drive.source.withBitmaps { $0.infos }
        let backup = drive.backup("job0", registry)
        let transaction = Transaction([
            BitmapAction(.add(granularity: nil, isPersistent: true, isRecording: true), "new", of: drive.source),
            BitmapAction(.clear, "b", of: drive.source),
            BitmapAction(.enable, "second", of: drive.source),
            BitmapAction(.disable, "b", of: drive.source),
            BitmapAction(
                .merge([.init("third", of: drive.source), .init("b", of: other.source)]), "second", of: drive.source),
            BitmapAction(.remove, "third", of: drive.source),
            backup,
            AbortAction(),
        ])
        await #expect(throws: JobError.self) { try await transaction.perform(on: workers) }
        do { try await transaction.perform(on: workers) } catch {
            #expect(error.description == "Transaction aborted using Abort action")
        }
        #expect(Set(drive.source.withBitmaps { $0.infos }.map { "\($0)" }) == Set(before.map { "\($0)" }))
        #expect(registry.jobs.isEmpty && !registry.isInUse(drive.source) && drive.target.calls.isEmpty)
        #expect(await PauseTests.told(try #require(backup.job)) == ["created", "aborting", "concluded", "null"])
        // Nothing is held any more.
        try await Self.write(drive, cluster: 3)
    }

    /// Actions are undone last first: only then does each find what it left.
    @Test func undoneInReverseOrder() async throws {
        final class Recorder: TransactionAction {
            let name: String
            let log: Locked<[String]>
            init(_ name: String, _ log: Locked<[String]>) {
                self.name = name
                self.log = log
            }
            func prepare(in group: TransactionGroup) async throws(JobError) { log.withLock { $0.append("+\(name)") } }
            func commit(in group: TransactionGroup) { log.withLock { $0.append("!\(name)") } }
            func undo() { log.withLock { $0.append("-\(name)") } }
        }
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let log = Locked<[String]>([])
        let actions = ["a", "b", "c"].map { Recorder($0, log) }
        await #expect(throws: JobError.self) {
            try await Transaction(actions + [AbortAction()]).perform(on: workers)
        }
        #expect(log.withLock { $0 } == ["+a", "+b", "+c", "-c", "-b", "-a"])
        log.withLock { $0 = [] }
        try await Transaction(actions).perform(on: workers)
        #expect(log.withLock { $0 } == ["+a", "+b", "+c", "!a", "!b", "!c"])
    }

    /// One action that can't be done: its own error, and the others are undone.
    @Test func firstErrorIsTold() async throws {
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let drive = try await Drive("a")
        let registry = JobRegistry()
        let transaction = Transaction([
            BitmapAction(.clear, "b", of: drive.source), BitmapAction(.clear, "missing", of: drive.source),
            BitmapAction(.clear, "alsoMissing", of: drive.source),
        ])
        do {
            try await transaction.perform(on: workers)
            Issue.record("it was done")
        } catch {
            #expect(error.description == "No dirty bitmap 'missing'")
        }
        #expect(drive.dirty == [0..<131_072])
        // A bitmap that a job of the same transaction works by can't be changed any more.
        do {
            try await Transaction([drive.backup("job0", registry), BitmapAction(.clear, "b", of: drive.source)])
                .perform(on: workers)
            Issue.record("it was done")
        } catch {
            #expect(error.description == "Bitmap 'b' is in use by another operation")
        }
        #expect(drive.dirty == [0..<131_072] && registry.jobs.isEmpty)
    }

    static let changes: [(BitmapAction.Change, String)] = [
        (BitmapAction.Change.add(granularity: nil, isPersistent: false, isRecording: true), "block-dirty-bitmap-add"),
        (BitmapAction.Change.remove, "block-dirty-bitmap-remove"),
        (BitmapAction.Change.clear, "block-dirty-bitmap-clear"),
        (BitmapAction.Change.enable, "block-dirty-bitmap-enable"),
        (BitmapAction.Change.disable, "block-dirty-bitmap-disable"),
        (BitmapAction.Change.merge([]), "block-dirty-bitmap-merge"),
    ]

    @Test(arguments: changes)
    func bitmapActionsAreNotForGroups(_ change: BitmapAction.Change, name: String) async throws {
        let workers = WorkerThreads(count: 1)
        defer { workers.stop() }
        let drive = try await Drive("a")
        let registry = JobRegistry()
        let before = drive.source.withBitmaps { $0.infos }
        do {
            try await Transaction(
                [drive.backup("job0", registry), BitmapAction(change, "b", of: drive.source)], completion: .grouped
            ).perform(on: workers)
            Issue.record("it was done")
        } catch {
            #expect(error.description == "Action '\(name)' cannot be part of a grouped transaction")
        }
        #expect(drive.source.withBitmaps { $0.infos } == before && registry.jobs.isEmpty)
    }

    // MARK: One point in time

    /// A guest that writes to one disk and then to the other: never does a backup have the second write and not the
    /// first.
    @Test func allMembersShareOneMoment() async throws {
        let workers = WorkerThreads(count: 3)
        defer { workers.stop() }
        for _ in 0..<40 {
            let drives = [try await Drive("a"), try await Drive("b")]
            let registry = JobRegistry()
            let isOver = Locked(false)
            let guest = Task {
                var number: UInt8 = 10
                while !isOver.withLock({ $0 }), number < 200 {
                    let bytes = [UInt8](repeating: number, count: 512)
                    try await drives[0].source.write(at: 0, from: bytes.span.bytes)
                    try await drives[1].source.write(at: 0, from: bytes.span.bytes)
                    number += 1
                }
            }
            await Task.yield()
            let actions = drives.enumerated().map { $1.backup("job\($0)", registry) }
            try await Transaction(actions).perform(on: workers)
            for action in actions { try await action.job?.wait() }
            isOver.withLock { $0 = true }
            try await guest.value
            let (first, second) = (drives[0].target.bytes[0], drives[1].target.bytes[0])
            // 7 stands for never written.
            #expect(first == second || first == second + 1 || (first == 10 && second == 7))
        }
    }

    // MARK: Completion

    enum Trouble: Sendable, CaseIterable {
        case failure, cancel
    }

    /// Three jobs, of which the second one ends badly when the first one has long been done.
    @Test(arguments: [Transaction.CompletionMode.individual, .grouped], Trouble.allCases)
    func oneJobEndsBadly(_ completion: Transaction.CompletionMode, _ trouble: Trouble) async throws {
        let workers = WorkerThreads(count: 4)
        defer { workers.stop() }
        let isFirstDone = Locked(false)
        let slow: @Sendable (TestDisk.Call) async -> Void = { call in
            if call.operation == .write { await until { isFirstDone.withLock { $0 } } }
        }
        let drives = [
            try await Drive("a"), try await Drive("b", onTarget: slow), try await Drive("c", onTarget: slow),
        ]
        let registry = JobRegistry()
        let actions = [
            drives[0].backup("job0", registry, sync: .bitmap, mode: .always), drives[1].backup("job1", registry),
            drives[2].backup("job2", registry, sync: .full, mode: .onSuccess),
        ]
        if trouble == .failure { drives[1].target.fail(.write, call: 1, with: .noSpace) }
        try await Transaction(actions, completion: completion).perform(on: workers)
        let jobs = try actions.map { try #require($0.job) }
        #expect(registry.jobs.map(\.id).starts(with: ["job2", "job1"]))
        await until { jobs[0].state == (completion == .grouped ? .waiting : .null) }
        try await Self.write(drives[0], cluster: 5)
        if trouble == .cancel { jobs[1].cancel() }
        isFirstDone.withLock { $0 = true }
        var ends: [String] = []
        for job in jobs {
            do {
                try await job.wait()
                ends.append("well")
            } catch {
                ends.append(error.description)
            }
        }
        let bad = trouble == .cancel ? "Operation canceled" : try #require(jobs[1].error?.description)
        #expect(trouble == .cancel || bad.contains("No space left"))
        if completion == .individual {
            #expect(ends == ["well", bad, "well"])
            #expect(drives[0].dirty == [5 * 65536..<6 * 65536] && drives[2].dirty == [])
        } else {
            #expect(ends == ["Operation canceled", bad, "Operation canceled"])
            // What is copied stays copied: its target must be kept.
            #expect(drives[0].dirty == [5 * 65536..<6 * 65536])
            #expect(drives[2].dirty == [0..<131_072])
            let told = await PauseTests.told(jobs[0])
            #expect(
                told == [
                    "created", "running", "paused", "running", "waiting", "aborting", "CANCELLED 131072", "concluded",
                    "null",
                ])
            let last = Array(await PauseTests.told(jobs[1]).suffix(4))
            let end = trouble == .cancel ? "CANCELLED" : "COMPLETED 28"
            #expect(last[0] == "aborting" && last[1].hasPrefix(end))
        }
        #expect(drives[1].dirty == [0..<131_072])
        #expect(registry.jobs.isEmpty && drives.allSatisfy { !registry.isInUse($0.source) })
    }

    /// A job that is cancelled before its group starts takes the others with it, those that join later too.
    @Test(arguments: [Transaction.CompletionMode.individual, .grouped], [(0, 1), (0, 2), (1, 2)])
    func cancelledBeforeTheStart(_ completion: Transaction.CompletionMode, when: (member: Int, place: Int)) async throws
    {
        let (member, place) = when
        final class CancelAction: TransactionAction {
            let backup: BackupAction
            init(_ backup: BackupAction) { self.backup = backup }
            var name: String { "cancel" }
            func prepare(in group: TransactionGroup) async throws(JobError) { backup.job?.cancel() }
        }
        let workers = WorkerThreads(count: 2)
        defer { workers.stop() }
        let drives = [try await Drive("a"), try await Drive("b")]
        let registry = JobRegistry()
        let actions = drives.enumerated().map { $1.backup("job\($0)", registry) }
        var all: [any TransactionAction] = actions
        all.insert(CancelAction(actions[member]), at: place)
        try await Transaction(all, completion: completion).perform(on: workers)
        let jobs = try actions.map { try #require($0.job) }
        for (index, job) in jobs.enumerated() {
            let isDone: Bool
            do { try await job.wait(); isDone = true } catch { isDone = false }
            #expect(isDone == (index != member && completion == .individual))
            #expect(drives[index].dirty == (isDone ? [] : [0..<131_072]))
            if !isDone {
                #expect(await PauseTests.told(job) == ["created", "aborting", "concluded", "null"])
                #expect(drives[index].target.calls.isEmpty)
            }
        }
        #expect(registry.jobs.isEmpty && drives.allSatisfy { !registry.isInUse($0.source) })
    }

    @Test func groupedJobsEndTogether() async throws {
        let workers = WorkerThreads(count: 3)
        defer { workers.stop() }
        let drives = [try await Drive("a"), try await Drive("b"), try await Drive("c")]
        // One with nothing to copy goes the same way.
        try drives[1].source.withBitmaps { (bitmaps) throws(DirtyBitmapError) in
            try bitmaps.update("b") { (bitmap) throws(DirtyBitmapError) in try bitmap.clear() }
        }
        let registry = JobRegistry()
        let actions = drives.enumerated().map { $1.backup("job\($0)", registry, autoFinalize: $0 != 2) }
        try await Transaction(actions, completion: .grouped).perform(on: workers)
        let jobs = try actions.map { try #require($0.job) }
        await until { jobs.allSatisfy { $0.state == .pending } }
        #expect(drives[0].source.withBitmaps { $0.infos[0].isBusy })
        // Any of them releases all.
        try jobs[0].finalize()
        for job in jobs { try await job.wait() }
        #expect(drives.allSatisfy { $0.dirty.isEmpty })
        for (index, job) in jobs.enumerated() {
            let told = await PauseTests.told(job)
            let copied = index == 1 ? 0 : 131_072
            var expected = ["created", "running", "paused", "running", "waiting", "pending"]
            if index == 2 { expected.append("PENDING") }
            expected += ["COMPLETED  \(copied)", "concluded", "null"]
            #expect(told == expected)
        }
    }

    /// Cancelled while all wait to be finalised: none ends well.
    @Test(arguments: 0..<2)
    func cancelledWhilePending(member: Int) async throws {
        let workers = WorkerThreads(count: 2)
        defer { workers.stop() }
        let drives = [try await Drive("a"), try await Drive("b")]
        let registry = JobRegistry()
        let actions = drives.enumerated().map { $1.backup("job\($0)", registry, autoFinalize: false) }
        try await Transaction(actions, completion: .grouped).perform(on: workers)
        let jobs = try actions.map { try #require($0.job) }
        await until { jobs.allSatisfy { $0.state == .pending } }
        jobs[member].cancel()
        for job in jobs { await #expect(throws: JobError.self) { try await job.wait() } }
        #expect(drives.allSatisfy { $0.dirty == [0..<131_072] })
    }
}
