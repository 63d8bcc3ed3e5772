// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps
import SystemPackage
import TestSupport

@testable import BackupCore

/// One random life of one job, and what has to be true of it in the end.
///
/// The seed decides the disk, the bitmap, the job's settings, what two guests do, what is asked of the job, what fails,
/// and the order of all steps.
final class JobSchedule: Sendable {
    /// What the guests did to the disk.
    private struct Written {
        var sectors: DirtyBitmap
        /// What they wrote since the job started, or since the beginning where it never does.
        var newSectors: DirtyBitmap
        /// What may have come when the job no longer copied for guests.
        var lateSectors: DirtyBitmap
    }

    /// The job's point in time.
    private struct Point {
        var bytes: [UInt8]
        /// What the guests had written until then.
        var written: DirtyBitmap
    }

    let seed: UInt64
    let plan: SchedulePlan
    private let clock = ManualClock()
    private let source: TestDisk
    private let target: TestDisk
    private let guest: GuestDevice
    private let written: Locked<Written>
    /// `nil` for a job that was never started.
    private let origin = Locked<Point?>(nil)
    private let problems = Locked<[String]>([])
    private let told = Locked<[String]>([])

    /// - Parameter adjust: decides some things in place of the seed.
    init(seed: UInt64, adjust: (inout SchedulePlan) -> Void = { _ in }) {
        self.seed = seed
        var plan = SchedulePlan(seed: seed)
        adjust(&plan)
        self.plan = plan
        source = plan.makeSource(clock)
        target = plan.makeTarget(clock)
        guest = GuestDevice(source)
        let sectors = try! DirtyBitmap(length: source.length, granularity: 512)
        written = Locked(Written(sectors: sectors, newSectors: sectors, lateSectors: sectors))
    }

    /// Whether the fault of the plan came up.
    func wasReached(_ fault: SchedulePlan.Fault) -> Bool {
        (fault.isOnSource ? source : target).calls(fault.operation).count >= fault.call
    }

    /// Calls of the devices and events, in order.
    var trace: [String] {
        source.calls.map { "\($0)" } + target.calls.map { "\($0)" } + told.withLock { $0 }
    }

    /// - Returns: what is wrong.
    func run() -> [String] {
        let executor = SeededExecutor(seed: seed)
        let isDone = executor.run(idle: { self.clock.advanceToNext() }) { await self.live(on: executor) }
        if !isDone { report("stuck") }
        return problems.withLock { $0 }
    }

    private func report(_ problem: String) {
        problems.withLock { $0.append(problem) }
    }

    private func live(on executor: SeededExecutor) async {
        addBitmap()
        let before = guest.withBitmaps { $0.find("b")?.bits }
        let job: BackupJob
        do {
            job = try await BackupJob(
                id: "job0", source: guest, target: target, configuration: plan.configuration, clock: clock)
        } catch {
            return report("not made: \(error)")
        }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.start(job, on: executor) }
            for number in 0..<2 as Range<UInt64> {
                group.addTask { await self.guestLife(number, job) }
            }
            group.addTask { await self.control(job) }
        }
        let error = await job.lifecycle.waitForEnd()
        await collect(job)
        check(job, error, before: before)
    }

    private func addBitmap() {
        guard let bitmap = plan.bitmap else { return }
        guest.withBitmaps { bitmaps in
            try! bitmaps.add("b", granularity: bitmap.granularity)
            for range in bitmap.dirty { bitmaps.record(range) }
            try! bitmaps.update("b") { (made) throws(DirtyBitmapError) in try made.setRecording(bitmap.isRecording) }
        }
    }

    /// Takes the point in time under a drain, to see the same as the job does.
    private func start(_ job: BackupJob, on executor: SeededExecutor) async {
        if plan.cancelsBeforeStart { job.cancel() }
        await guest.beginDrain()
        let point = Point(bytes: source.bytes, written: written.withLock { $0.sectors })
        if (try? job.begin()) != nil {
            origin.withLock { $0 = point }
            written.withLock { $0.newSectors = $0.newSectors.makeEmpty() }
            job.workInBackground(on: executor, threads: plan.threads)
        }
        guest.endDrain()
    }

    private func collect(_ job: BackupJob) async {
        if job.state == .concluded { try? job.dismiss() }
        for await event in job.events { told.withLock { $0.append("\(event)") } }
    }

    // MARK: The guest

    private func guestLife(_ number: UInt64, _ job: BackupJob) async {
        var random = SeededRandom(seed: seed &* 31 &+ number &+ 1)
        let sectors = Int(source.length / 512)
        let content = [UInt8](repeating: UInt8(0x42 + number), count: 200 * 512)
        var buffer = AlignedBuffer(count: 200 * 512)
        for _ in 0..<plan.guestRequests {
            let first = Int.random(in: 0..<sectors, using: &random)
            let longest = Bool.random(using: &random) ? 8 : 200
            let count = min(Int.random(in: 1...longest, using: &random), sectors - first)
            let offset = UInt64(first * 512)
            let length = UInt64(count * 512)
            if Int.random(in: 0..<4, using: &random) == 0 {
                await clock.sleep(.milliseconds(Int.random(in: 1...200, using: &random)))
            }
            let isRead = Int.random(in: 0..<6, using: &random) == 0
            if isRead {
                var span = buffer.mutablePrefix(count * 512)
                do { try await guest.read(at: offset, into: &span) } catch { checkGuest(error) }
            } else {
                let kind = Int.random(in: 0..<6, using: &random)
                let bytes = content.span.bytes.extracting(0..<count * 512)
                do {
                    switch kind {
                    case 0: try await guest.writeZeroes(at: offset, length: length)
                    case 1: try await guest.discard(at: offset, length: length)
                    default: try await guest.write(at: offset, from: bytes)
                    }
                    note(offset..<offset + length, job)
                } catch {
                    checkGuest(error)
                }
            }
        }
    }

    private func note(_ range: Range<UInt64>, _ job: BackupJob) {
        let isLate = job.copy.state.withLock { $0.isClosedToGuests }
        written.withLock { written in
            written.sectors.set(range)
            written.newSectors.set(range)
            if isLate { written.lateSectors.set(range) }
        }
    }

    /// Only the copy before the write can fail: the disk takes every write.
    private func checkGuest(_ error: BlockError) {
        if error.errno != .noSpace, error.errno != .ioError { report("guest: \(error)") }
    }

    // MARK: The user

    private func control(_ job: BackupJob) async {
        var random = SeededRandom(seed: seed &* 17 &+ 5)
        var drains = 0
        for _ in 0..<plan.verbs {
            switch Int.random(in: 0..<14, using: &random) {
            case 0...2: try? job.pause()
            case 3...5: try? job.resume()
            case 6: try? job.setSpeed(random.pick([0, 1 << 20, 1 << 30]))
            case 7:
                job.beginDrain()
                drains += 1
            case 8 where drains > 0:
                job.endDrain()
                drains -= 1
            case 9 where plan.cancels: job.cancel()
            case 10 where plan.cancels: try? job.cancel(force: false)
            case 11:
                await guest.beginDrain()
                await Task.yield()
                guest.endDrain()
            default: await clock.sleep(.milliseconds(Int.random(in: 0...150, using: &random)))
            }
        }
        for _ in 0..<drains { job.endDrain() }
        // From here on, whatever is needed for the job to end.
        var patience = 10_000
        while ![.concluded, .null].contains(job.state), patience > 0 {
            patience -= 1
            try? job.resume()
            try? job.finalize()
            if plan.configuration.sync == .none { job.cancel() }
            await clock.sleep(.milliseconds(50))
        }
        if patience == 0 { report("does not end: \(job.state)") }
    }

    // MARK: What has to be true

    private func check(_ job: BackupJob, _ error: JobError?, before: DirtyBitmap?) {
        let owed = job.owedRanges()
        let origin = origin.withLock { $0 }
        if let origin {
            checkContent(job, origin.bytes, owed: owed, manifest: manifest(job, origin, before))
        } else if !target.calls.isEmpty || error == nil {
            report("a job that never started did something")
        }
        if error == nil {
            if !owed.isEmpty { report("success, and still owed: \(owed)") }
            let progress = job.progress
            if progress.offset != progress.length { report("offset \(progress.offset) of \(progress.length)") }
        }
        if source.outOfRange + target.outOfRange > 0 { report("requests beyond the end") }
        if job.state != .null { report("ends as \(job.state)") }
        if let before { checkBitmap(before, succeeded: error == nil, wasStarted: origin != nil, job) }
        checkEvents()
    }

    /// The clusters that the job is to copy.
    private func manifest(_ job: BackupJob, _ origin: Point, _ before: DirtyBitmap?) -> DirtyBitmap {
        var manifest = try! DirtyBitmap(length: source.length, granularity: job.clusterSize)
        switch plan.configuration.sync {
        case .full, .none: manifest.setAll()
        case .top:
            plan.image.allocatedRanges.forEach { manifest.set($0) }
            manifest.formUnion(origin.written)
        case .bitmap, .incremental:
            manifest.formUnion(before!)
            var recorded = before!.makeEmpty()
            if plan.bitmap!.isRecording { recorded.formUnion(origin.written) }
            manifest.formUnion(recorded)
        }
        return manifest
    }

    private func checkContent(
        _ job: BackupJob, _ origin: [UInt8], owed: [Range<UInt64>], manifest: DirtyBitmap
    ) {
        let (sourceBytes, targetBytes) = (source.bytes, target.bytes)
        let untouched = [UInt8](repeating: SchedulePlan.filler, count: targetBytes.count)
        let unreadable = job.unreadableRanges()
        let late = written.withLock { $0.lateSectors }
        let cluster = Int(job.clusterSize)
        for start in stride(from: 0, to: Int(source.length), by: cluster) {
            let range = start..<min(start + cluster, Int(source.length))
            if owed.contains(where: { $0.contains(UInt64(start)) }) {
                for sector in stride(from: start, to: range.upperBound, by: 512)
                where !late.isDirty(at: UInt64(sector)) {
                    let isKept = haveSameBytes(sourceBytes, origin, in: sector..<min(sector + 512, range.upperBound))
                    if !isKept { report("sector at \(sector) is lost") }
                }
            } else if unreadable.contains(where: { $0.contains(UInt64(start)) }) {
                if targetBytes[range].contains(where: { $0 != 0 }) { report("cluster at \(start) is not zero") }
            } else if manifest.isDirty(at: UInt64(start)) {
                if !haveSameBytes(targetBytes, origin, in: range) { report("cluster at \(start) is wrong") }
            } else if !haveSameBytes(targetBytes, untouched, in: range) {
                // What isn't known about a cluster that a guest is about to write has it copied.
                let mayBeCopied = plan.hidesAllocation && haveSameBytes(targetBytes, origin, in: range)
                if !mayBeCopied { report("cluster at \(start) was not asked for") }
            }
        }
    }

    private func checkBitmap(_ before: DirtyBitmap, succeeded: Bool, wasStarted: Bool, _ job: BackupJob) {
        guard let mode = plan.configuration.bitmapMode, let now = guest.withBitmaps({ $0.find("b") }) else {
            report("the bitmap is gone")
            return
        }
        let written = written.withLock { $0 }
        var (old, new) = (before, before.makeEmpty())
        if plan.bitmap!.isRecording {
            old.formUnion(written.sectors)
            new.formUnion(written.newSectors)
        }
        (job.owedRanges() + job.unreadableRanges()).forEach { new.set($0) }
        let expected =
            switch mode {
            case .never: old
            case .onSuccess: succeeded ? new : old
            case .always: wasStarted ? new : old
            }
        if now.bits.dirtyRanges() != expected.dirtyRanges() {
            report("bitmap is \(now.bits.dirtyRanges()), not \(expected.dirtyRanges())")
        }
        if now.isBusy || now.isRecording != plan.bitmap!.isRecording { report("bitmap is busy or not recording") }
    }

    private func checkEvents() {
        let states = told.withLock { $0 }.compactMap { event in
            JobState.allCases.first { event == "statusChanged(BackupCore.JobState.\($0))" }
        }
        if states.first != .created || states.last != .null { report("states \(states)") }
        for (state, next) in zip(states, states.dropFirst()) where !state.successors.contains(next) {
            report("from \(state) to \(next)")
        }
    }
}
