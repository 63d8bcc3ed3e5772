// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps
import SystemPackage
import TestSupport
import Testing

@testable import BackupCore

/// Jobs of one transaction in every order that seeds make, while a guest writes to one disk after the other and some
/// jobs fail or are cancelled: their images are of one moment, grouped jobs end alike, each bitmap is what the outcome
/// says, and nothing waits for ever.
@Suite struct GroupScheduleTests {
    private struct Member: Sendable {
        let disk: TestDisk
        let source: GuestDevice
        let target: TestDisk
        let action: BackupAction
    }

    /// Sees what the disks hold when the transaction is done.
    private final class Snapshot: TransactionAction {
        private let disks: [TestDisk]
        let contents = Locked<[[UInt8]]>([])
        let name = "snapshot"

        init(_ disks: [TestDisk]) {
            self.disks = disks
        }

        func prepare(in group: TransactionGroup) async throws(JobError) {}

        func commit(in group: TransactionGroup) {
            let found = disks.map(\.bytes)
            contents.withLock { $0 = found }
        }
    }

    static let length = 3 * 65536
    static let seeds: UInt64 = isHeavyRun ? 4000 : 400

    @Test(arguments: 0..<4 as Range<UInt64>)
    func everyScheduleIsExact(part: UInt64) {
        for seed in part * Self.seeds / 4..<(part + 1) * Self.seeds / 4 {
            let problems = Self.run(seed)
            #expect(problems.isEmpty, "seed \(seed): \(problems.joined(separator: "; "))")
        }
    }

    private static func run(_ seed: UInt64) -> [String] {
        let clock = ManualClock()
        let executor = SeededExecutor(seed: seed)
        let problems = Locked<[String]>([])
        let isDone = executor.run(idle: { clock.advanceToNext() }) {
            let found = await live(seed, executor, clock)
            problems.withLock { $0 = found }
        }
        return problems.withLock { $0 } + (isDone ? [] : ["stuck"])
    }

    private static func members(_ random: inout SeededRandom, _ registry: JobRegistry) async -> [Member] {
        var members: [Member] = []
        for number in 0..<Int.random(in: 1...3, using: &random) {
            let yield: @Sendable (TestDisk.Call) async -> Void = { _ in await Task.yield() }
            let disk = TestDisk(
                name: "source\(number)", bytes: [UInt8](repeating: 7, count: length), onCall: yield)
            let target = TestDisk(
                name: "target\(number)", bytes: [UInt8](repeating: 0, count: length), onCall: yield)
            if Int.random(in: 0..<3, using: &random) == 0 {
                target.fail(.write, call: Int.random(in: 1...3, using: &random), with: .noSpace)
            }
            let source = GuestDevice(disk)
            try? await source.addBitmap("b", granularity: 65536)
            source.withBitmaps { $0.record(0..<65536) }
            var configuration = BackupJob.Configuration(sync: .full, maxWorkers: 2, maxChunk: 65536)
            configuration.bitmap = "b"
            configuration.bitmapMode = .onSuccess
            configuration.autoFinalize = Bool.random(using: &random)
            let action = BackupAction(
                id: "job\(number)", source: source, target: target, configuration: configuration,
                registry: registry)
            members.append(Member(disk: disk, source: source, target: target, action: action))
        }
        return members
    }

    private static func live(_ seed: UInt64, _ executor: SeededExecutor, _ clock: ManualClock) async -> [String] {
        var random = SeededRandom(seed: seed)
        let registry = JobRegistry()
        let members = await members(&random, registry)
        let completion: Transaction.CompletionMode = Bool.random(using: &random) ? .grouped : .individual
        let cancels: Int? = Int.random(in: 0..<3, using: &random) == 0 ? Int.random(in: 0..<3, using: &random) : nil
        let delay = Duration.milliseconds(Int.random(in: 0...20, using: &random))
        let isOver = Locked(false)
        let errors = Locked<[JobError?]>([])
        let moment = Locked<[[UInt8]]>([])
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await write(members, clock, until: isOver) }
            group.addTask {
                let snapshot = Snapshot(members.map(\.disk))
                let transaction = Transaction([snapshot] + members.map(\.action), completion: completion)
                _ = try? await transaction.perform(on: executor, threads: 2, clock: clock)
                await finish(members, clock, delay: delay, cancels: cancels)
                let ends = await ends(of: members)
                errors.withLock { $0 = ends }
                moment.withLock { $0 = snapshot.contents.withLock { $0 } }
                isOver.withLock { $0 = true }
            }
        }
        return check(members, errors.withLock { $0 }, moment.withLock { $0 }, completion)
    }

    private static func ends(of members: [Member]) async -> [JobError?] {
        var ends: [JobError?] = []
        for member in members { ends.append(await member.action.job?.lifecycle.waitForEnd()) }
        return ends
    }

    /// Writes a number to the first sector of each disk in turn, then the next number.
    private static func write(_ members: [Member], _ clock: ManualClock, until isOver: Locked<Bool>) async {
        var number: UInt8 = 10
        while !isOver.withLock({ $0 }), number < 250 {
            let content = [UInt8](repeating: number, count: 512)
            for member in members {
                let bytes = content.span.bytes
                // What can't be copied first is tried no more: the order of the disks is what counts.
                do { try await member.source.write(at: 0, from: bytes) } catch { return }
            }
            number += 1
            await clock.sleep(.milliseconds(1))
        }
    }

    /// Asks for what jobs wait for, and perhaps cancels one.
    private static func finish(
        _ members: [Member], _ clock: ManualClock, delay: Duration, cancels: Int?
    ) async {
        await clock.sleep(delay)
        if let cancels, cancels < members.count { members[cancels].action.job?.cancel() }
        let jobs = members.compactMap(\.action.job)
        while jobs.contains(where: { $0.state != .null }) {
            for job in jobs { try? job.finalize() }
            await clock.sleep(.milliseconds(5))
        }
    }

    private static func check(
        _ members: [Member], _ errors: [JobError?], _ moment: [[UInt8]], _ completion: Transaction.CompletionMode
    ) -> [String] {
        var problems: [String] = []
        let failures = errors.count { $0 != nil }
        if completion == .grouped, failures != 0, failures != members.count { problems.append("\(failures) failed") }
        for (index, member) in members.enumerated() {
            let bytes = member.target.bytes
            let isBehind = errors[index] != nil || member.disk.bytes[0] != bytes[0]
            let bits = member.source.withBitmaps { $0.find("b") }
            if bits?.isBusy != false { problems.append("busy") }
            if isBehind, bits?.bits.isDirty(at: 0) != true { problems.append("bitmap forgets") }
            if bits?.bits.isDirty(at: 65536) == true { problems.append("bitmap invents") }
            if errors[index] == nil, !haveSameBytes(bytes, moment[index]) { problems.append("another moment") }
        }
        // The guest writes to one after the other: those behind are at most a number behind. 9 stands for none.
        let numbers = moment.map { max($0[0], 9) }
        if numbers != numbers.sorted(by: >) || numbers[0] - numbers[numbers.count - 1] > 1 {
            problems.append("moments \(numbers)")
        }
        return problems
    }
}
