// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BlockIO
import DiskChain
import Foundation
import Glibc
import Qcow2Format
import TestSupport
import Testing

@testable import BackupService

/// How much a run looks at, and what it leaves for the next one.
@Suite struct VerifyStateTests {
    private static let rangeCount: UInt64 = 40

    private let bench: VerifyBench

    init() async throws {
        bench = try VerifyBench()
        try bench.makeSource(length: 1 << 20)
        truncate(bench.path("disk.raw"), Int(Self.rangeCount) << 20)
        try await bench.backUp(to: "b") { $0.targetFormat = .raw }
    }

    private func state() async throws -> VerifyState {
        try #require(await VerifyState(path: bench.path("b.verified")))
    }

    /// The state of the backup as it is now.
    private func fresh() async throws -> VerifyState {
        let manifest = try await ManifestFile(besides: bench.path("b")).header()
        return try VerifyState(of: manifest, in: #require(StoredFiles([bench.file("b").stamp])))
    }

    private func write(_ change: (inout VerifyState) -> Void) async throws {
        var state = try await fresh()
        change(&state)
        try await state.write(to: bench.path("b.verified"))
    }

    @Test func wholeRun() async throws {
        let outcome = try await bench.verify("b")
        #expect(outcome.reports[0].layers[0].checkedRanges == Self.rangeCount)
        let state = try await state()
        #expect(state.nextRange == 0 && state.bad.isEmpty && state.proven != nil)
        #expect(try bench.directory.names() == ["b", "b.manifest", "b.verified", "disk.raw"])
    }

    @Test func badRun() async throws {
        for range in [0, 7, 39] { try bench.change("b", at: range << 20, by: 1) }
        let outcome = try await bench.verify("b")
        #expect(outcome.verdict == .bad)
        #expect(outcome.reports[0].layers[0].bad.map(\.range.lowerBound) == [0, 7 << 20, 39 << 20])
        #expect(outcome.reports[0].layers[0].bad.allSatisfy { $0.reason == .differs && $0.range.count == 1 << 20 })
        let state = try await state()
        #expect(state.bad == [0, 7, 39] && state.proven == nil && state.nextRange == 0)
        // Brought back, all is well.
        for range in [0, 7, 39] { try bench.change("b", at: range << 20, by: 1) }
        #expect(try await bench.verify("b").verdict == .proven)
        #expect(try await self.state().bad.isEmpty)
    }

    /// However little time there is, each run comes further.
    @Test func noTime() async throws {
        var next: UInt64 = 0
        var runs = 0
        while runs < 10 {
            runs += 1
            let outcome = try await bench.verify("b") { $0.duration = .nanoseconds(1) }
            let state = try await state()
            #expect(outcome.reports[0].layers[0].checkedRanges >= min(16, Self.rangeCount - next))
            if outcome.verdict == .proven {
                #expect(state.proven != nil && state.nextRange == 0)
                break
            }
            #expect(outcome.verdict == .sound && state.nextRange > next && state.proven == nil)
            next = state.nextRange
        }
        #expect((1...3).contains(runs))
    }

    /// Who begins anew and is stopped loses nothing.
    @Test func stoppedBeforeItCameAsFar() async throws {
        let manifest = try await ManifestFile(besides: bench.path("b")).manifest()
        let proof = LayerProof(try SectorDisk(bench.file("b")), digests: manifest.digests)
        var known = try await fresh()
        known.nextRange = 39
        let keeper = ProofKeeper(
            path: bench.path("b.verified"), known: known, isSample: false, isDamaged: false, warn: { _ in })
        let pieces = Locked(0)
        let scan = LayerScan(proof, from: 0) { pieces.withLock { $0 == 1 } }
        await scan.work { pieces.withLock { $0 += 1 } }
        #expect(scan.position == 16)
        #expect(keeper.state(of: scan)?.nextRange == 39)
    }

    /// What another run finds meanwhile is looked at as well, and not lost.
    @Test func twoRuns() async throws {
        try bench.change("b", at: 4 << 20, by: 1)
        let manifest = try await ManifestFile(besides: bench.path("b")).manifest()
        let proof = LayerProof(try SectorDisk(bench.file("b")), digests: manifest.digests)
        let known = try await fresh()
        let keeper = ProofKeeper(
            path: bench.path("b.verified"), known: known, isSample: false, isDamaged: false, warn: { _ in })
        let scan = LayerScan(proof, from: 30) { false }
        await scan.work()
        #expect(keeper.state(of: scan)?.proven != nil)
        try await write { $0.bad = [4] }
        #expect(await keeper.newlyBad(scan) == [4])
        await keeper.keep(scan)
        let kept = try await state()
        #expect(kept.bad == [4] && kept.proven == nil)
        scan.addFirst([4])
        await scan.work()
        #expect(scan.bad.map(\.range) == [4 << 20..<5 << 20])
        #expect(await keeper.newlyBad(scan).isEmpty)
    }

    /// A file that is written to while it is read proves nothing.
    @Test func changedMeanwhile() async throws {
        let disk = try await Inspection.run { () async throws(ServiceError) in
            try await Inspection.open(
                bench.path("b"), format: .raw, backingFormat: nil, forceShare: false, warn: { _ in })
        }
        let manifest = try await ManifestFile(besides: bench.path("b")).manifest()
        let change = Locked(true)
        let verification = LayerVerification(
            layer: disk.layers[0], extent: .everything, isLimited: false, workers: 1, warn: { _ in },
            isOver: {
                let isFirst = change.withLock { value in
                    defer { value = false }
                    return value
                }
                if isFirst {
                    try? bench.change("b", at: 39 << 20, by: 0)
                }
                return false
            }, looked: {})
        var layer = VerifiedLayer(path: bench.path("b"), manifest: .used(path: "", content: ""))
        try await verification.prove(
            LayerProof(disk.device, digests: manifest.digests), by: manifest.header, &layer, starting: { _ in })
        #expect(layer.hasChanged && layer.isComplete && layer.verdict == .unproven)
        #expect(!bench.directory.exists("b.verified"))
    }

    /// A run with a limit goes on where the last one stopped, and looks again at what was bad.
    @Test func goingOn() async throws {
        try bench.change("b", at: 4 << 20, by: 1)
        try bench.change("b", at: 31 << 20, by: 1)
        // As storage does that loses it after it was looked at.
        try bench.change("b", at: 5 << 20, by: 1)
        try await write {
            $0.nextRange = 30
            $0.bad = [3, 4]
        }
        let outcome = try await bench.verify("b") { $0.duration = .seconds(3600) }
        let layer = outcome.reports[0].layers[0]
        #expect(layer.checkedRanges == 12 && layer.isComplete)
        #expect(layer.bad.map(\.range) == [4 << 20..<5 << 20, 31 << 20..<32 << 20])
        let state = try await state()
        #expect(state.nextRange == 0 && state.bad == [4, 31])
        // Now from the start.
        let next = try await bench.verify("b") { $0.duration = .seconds(3600) }
        #expect(next.reports[0].layers[0].bad.map(\.range) == [4 << 20..<6 << 20, 31 << 20..<32 << 20])
        // Without a limit, nothing is taken from earlier runs.
        try await write { $0.nextRange = 35 }
        #expect(try await bench.verify("b").reports[0].layers[0].checkedRanges == Self.rangeCount)
    }

    /// What can't be a place, and what is no state at all, stands for nothing.
    @Test(arguments: [40, 41, 1 << 43, UInt64.max]) func hostilePlaces(next: UInt64) async throws {
        try await write {
            $0.nextRange = next
            $0.bad = [0, 0, 0, .max, 1 << 44, 39]
        }
        let outcome = try await bench.verify("b") { $0.duration = .seconds(3600) }
        #expect(outcome.reports[0].layers[0].checkedRanges == Self.rangeCount)
        #expect(outcome.verdict == .proven)
    }

    @Test(arguments: ["", "{}", "{", "\0\0\0", "{\"content\":7}", String(repeating: "{", count: 100_000)])
    func noState(text: String) async throws {
        try bench.directory.write(Array(text.utf8), to: "b.verified")
        #expect(try await bench.verify("b") { $0.duration = .seconds(3600) }.verdict == .proven)
        #expect(try await state().proven != nil)
    }

    /// What somebody else keeps under the name stays.
    @Test(arguments: ["mine", "null", "[[[["]) func foreignFile(text: String) async throws {
        try bench.directory.write(Array(text.utf8), to: "b.verified")
        let outcome = try await bench.verify("b")
        #expect(outcome.verdict == .proven && outcome.warnings.count == 1)
        #expect(try bench.directory.read("b.verified") == Array(text.utf8))
    }

    /// The state of other content says nothing.
    @Test func otherContent() async throws {
        let changes: [(inout VerifyState) -> Void] = [
            { $0.content = "0123" }, { $0.backup = "0123" }, { $0.files = StoredFiles([])! },
        ]
        for change in changes {
            try await write {
                ($0.nextRange, $0.proven) = (39, Date())
                change(&$0)
            }
            #expect(
                try await ManifestReport(besides: bench.file("b"), nil, virtualSize: Self.rangeCount << 20)?.proof
                    .state == .never)
            let outcome = try await bench.verify("b") { $0.duration = .seconds(3600) }
            #expect(outcome.reports[0].layers[0].checkedRanges == Self.rangeCount)
        }
    }

    /// Of a copy, and of a file that was written to, nothing is proven; what was bad is remembered.
    @Test func otherFile() async throws {
        _ = try await bench.verify("b")
        try await write { ($0.proven, $0.bad) = (Date(), [7]) }
        for name in ["b", "b.manifest", "b.verified"] {
            try bench.copy(name, to: "copy" + name.dropFirst())
        }
        let copied = try #require(
            try await ManifestReport(besides: bench.file("copy"), nil, virtualSize: Self.rangeCount << 20))
        #expect(copied.proof.state == .bad && copied.proof.proven == nil)
        let outcome = try await bench.verify("copy") { $0.extent = .sample(0.000_000_001) }
        #expect(outcome.verdict == .sound && (1...2).contains(outcome.reports[0].layers[0].checkedRanges))
        let state = try #require(await VerifyState(path: bench.path("copy.verified")))
        #expect(state.bad.isEmpty && state.proven == nil)
    }

    /// A run that is stopped before it begins leaves all as it was.
    @Test func stopped() async throws {
        let path = bench.path("b")
        try await BackupShelf.patiently {
            let operation = VerifyOperation(VerifyRequest(backups: [path])) { _ in }
            operation.stop()
            let error = try await refusal { _ = try await operation.run() }
            if error.code == .locked { throw error }
            #expect(error.code == .cancelled)
        }
        #expect(!bench.directory.exists("b.verified"))
    }

    /// Where there was no time to look nothing is wrong, but for what was bad before.
    @Test(arguments: [VerifyRequest.Extent.everything, .sample(0.5)])
    func noTimeForALayer(extent: VerifyRequest.Extent) async throws {
        let path = bench.path("b")
        let disk = try await Inspection.run { () async throws(ServiceError) in
            try await Inspection.open(path, format: .raw, backingFormat: nil, forceShare: false, warn: { _ in })
        }
        let manifest = try await ManifestFile(besides: path).manifest()
        let verification = LayerVerification(
            layer: disk.layers[0], extent: extent, isLimited: true, workers: 1, warn: { _ in }, isOver: { true },
            looked: {})
        for (known, verdict) in [([], .sound), ([7], .bad)] as [([UInt64], VerifyReport.Verdict)] {
            try await write { $0.bad = known }
            var layer = VerifiedLayer(path: path, manifest: .used(path: "", content: ""))
            try await verification.prove(
                LayerProof(disk.device, digests: manifest.digests), by: manifest.header, &layer, starting: { _ in })
            #expect(layer.checkedRanges == 0 && layer.verdict == verdict && layer.unseenBad == known.count)
            #expect(try await state().bad == known)
        }
    }

    /// While workers are at pieces, a run can be taken up before the first of these.
    @Test func underWay() async throws {
        try bench.change("b", at: 4 << 20, by: 1)
        let manifest = try await ManifestFile(besides: bench.path("b")).manifest()
        let disk = try SectorDisk(bench.file("b"))
        let scan = LayerScan(LayerProof(disk, digests: manifest.digests), from: 0) { false }
        let state = try await fresh()
        let keeper = ProofKeeper(
            path: bench.path("b.verified"), known: state, isSample: false, isDamaged: false, warn: { _ in })
        #expect(keeper.state(of: scan) == nil)
        let kept = Locked<[VerifyState?]>([])
        // Two workers in one thread: the second takes its pieces while the first is behind its own.
        await scan.work {
            kept.withLock { $0.append(keeper.state(of: scan)) }
            if kept.withLock({ $0.count }) == 1 {
                await scan.work { kept.withLock { $0.append(keeper.state(of: scan)) } }
            }
        }
        #expect(kept.withLock { $0.map { $0?.nextRange } } == [16, 32, 0])
        #expect(kept.withLock { $0.allSatisfy { $0?.bad == [4] && $0?.proven == nil } })
    }

    @Test func manyBad() async throws {
        var state = try await fresh()
        state.bad = (0..<5000).map { UInt64($0 / 2) }
        try await state.write(to: bench.path("b.verified"))
        #expect(try await self.state().bad == (0..<1000).map { UInt64($0) })
    }

    /// Where it can't be kept the proof is as good as ever.
    @Test func noPlace() async throws {
        try FileManager.default.createDirectory(
            atPath: bench.path("b.verified.partial"), withIntermediateDirectories: false)
        let outcome = try await bench.verify("b")
        #expect(outcome.verdict == .proven)
        #expect(outcome.warnings.count == 1)
        #expect(outcome.warnings.first?.contains("can't be kept") == true)
    }

    @Test func sample() async throws {
        var total: UInt64 = 0
        for _ in 0..<10 {
            let outcome = try await bench.verify("b") { $0.extent = .sample(0.5) }
            let layer = outcome.reports[0].layers[0]
            #expect(!layer.isComplete && outcome.verdict == .sound)
            total += layer.checkedRanges
        }
        // 400 throws of a coin; beyond 20 standard deviations the coin is broken.
        #expect((1...399).contains(total))
        #expect(try await state().proven == nil)
        // What was bad is looked at by every sample, and forgotten only because it is as written again.
        try await write { $0.bad = [7] }
        let last = try await bench.verify("b") { $0.extent = .sample(0.000_000_001) }
        #expect((1...2).contains(last.reports[0].layers[0].checkedRanges))
        #expect(try await state().bad == [])
        // However small, it looks at something.
        try bench.remove("b.verified")
        let least = try await bench.verify("b") { $0.extent = .sample(0.000_000_001) }
        #expect(least.reports[0].layers[0].checkedRanges >= 1)
        for share in [0, 1, -1, 2, Double.nan, .infinity] {
            let error = try await refusal { _ = try await bench.verify("b") { $0.extent = .sample(share) } }
            #expect(error.code == .usage)
        }
    }

    /// With no time for all, each gets its turn: first what was not finished, then what was looked at longest ago.
    @Test func turns() async throws {
        let names = ["a", "b", "c", "d", "e", "f"]
        for name in names.dropLast() where name != "b" { try bench.directory.write([], to: "\(name).manifest") }
        for (name, age, next) in [("a", 10, 0), ("b", 30, 0), ("c", 5, 7), ("d", 20, 9)] as [(String, Double, UInt64)] {
            var state = try await fresh()
            (state.checked, state.nextRange) = (Date(timeIntervalSinceNow: -3600 * age), next)
            try await state.write(to: bench.path("\(name).verified"))
        }
        let paths = names.map(bench.path)
        var request = VerifyRequest(backups: paths)
        #expect(await VerifyOperation(request) { _ in }.order(of: paths) == [0, 1, 2, 3, 4, 5])
        request.duration = .seconds(1)
        // e was never looked at, and f can't be proven.
        #expect(await VerifyOperation(request) { _ in }.order(of: paths) == [3, 2, 4, 1, 0, 5])
    }

    @Test func structure() async throws {
        try bench.makeSource(length: 3 * 65_536)
        try await bench.backUp(to: "q")
        let sound = try await bench.verify("q", "b") { $0.extent = .nothing }
        #expect(sound.reports.map(\.verdict) == [.sound, .sound])
        #expect(sound.reports[0].layers[0].manifest == .notUsed)
        #expect(sound.reports[0].layers[0].structureProblems == [])
        #expect(sound.reports[1].layers[0].structureProblems == nil)
        // The first entry of the refcount table.
        try bench.change("q", at: 65_536 + 2, by: 0xff)
        let broken = try await bench.verify("q") { $0.extent = .nothing }
        #expect(broken.verdict == .bad, "\(broken.reports)")
    }

    @Test func requests() async throws {
        let bad: [@Sendable (inout VerifyRequest) -> Void] = [
            { ($0.backups, $0.manifest) = (["a", "b"], "m") }, { ($0.backups, $0.source) = (["a", "b"], "s") },
            { ($0.extent, $0.duration) = (.nothing, .seconds(1)) }, { ($0.extent, $0.source) = (.nothing, "s") },
            { ($0.extent, $0.manifest) = (.nothing, "m") },
        ]
        for change in bad {
            let error = try await refusal { _ = try await bench.verify("b", change: change) }
            #expect(error.code == .usage)
        }
        #expect(try await refusal { _ = try await bench.verify("nothing") }.code == .notFound)
        // What has a manifest was a backup.
        try bench.remove("b")
        #expect(try await bench.verify("b").verdict == .bad)
    }
}
