// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore
import BackupManifest
import BlockIO
import DiskChain
import Foundation
import Qcow2Format
import TestSupport
import Testing

@testable import BackupService

/// Backups of one content have one root digest, whatever they look like; and all can be proven.
@Suite struct VerifyFormatTests {
    private let bench: VerifyBench

    init() throws {
        bench = try VerifyBench()
    }

    @Test(arguments: [0, 512, 65_536 + 512, (2 << 20) + 65_536])
    func oneContent(length: Int) async throws {
        try bench.makeSource(length: length)
        let folder = bench.path(".")
        let shapes: [(String, @Sendable (inout BackupRequest) -> Void)] = [
            ("plain", { _ in }),
            ("zlib", { $0.compression = CompressionSettings() }),
            ("zstd", { $0.compression = CompressionSettings(type: .zstd) }),
            ("raw", { $0.targetFormat = .raw }),
            ("shared", { ($0.targetFormat, $0.copyRange) = (.raw, .on) }),
            ("small", { $0.targetOptions = ["cluster_size=512"] }),
            ("large", { $0.targetOptions = ["cluster_size=2M"] }),
            ("extended", { $0.targetOptions = ["extended_l2=on"] }),
            ("external", { $0.targetOptions = ["data_file=\(folder)/data"] }),
        ]
        var roots: Set<String> = []
        for (name, change) in shapes {
            let summary = try await bench.backUp(to: name, change)
            roots.insert(try #require(summary.manifest?.content))
            #expect(summary.manifest?.path == bench.path(name) + ".manifest")
            let outcome = try await bench.verify(name)
            #expect(outcome.verdict == .proven, "\(name): \(outcome.reports)")
            #expect(outcome.reports[0].layers[0].isComplete)
            #expect(outcome.warnings.isEmpty)
        }
        #expect(roots.count == 1)
        // A copy of a copy, and with the other digest.
        #expect(try await bench.backUp("zstd", to: "again").manifest.map { roots.contains($0.content) } == true)
        let other = try await bench.backUp(to: "sha") { $0.digest = .sha256 }
        #expect(other.manifest?.content.count == 64)
        #expect(try await bench.verify("sha").verdict == .proven)
    }

    @Test(.enabled(if: VerifyChain.canBeMade, VerifyChain.needs), arguments: ImageFormat.allCases)
    func chain(format: ImageFormat) async throws {
        let chain = try await VerifyChain(parentFormat: format)
        let outcome = try await chain.bench.verify("2", "1", "0")
        #expect(outcome.reports.map(\.verdict) == [.proven, .proven, .proven], "\(outcome.reports)")
        #expect(outcome.reports.map(\.layers.count) == [3, 2, 1])
        #expect(outcome.reports.allSatisfy { $0.layers.allSatisfy(\.isComplete) })
        // What chains have in common is read once.
        #expect(outcome.progress.length == 3 * VerifyChain.length && outcome.progress.offset == 3 * VerifyChain.length)
        // What is proven is the disk as it is now.
        let against = try await chain.bench.verify("2") { $0.source = chain.bench.path("disk.qcow2") }
        #expect(against.verdict == .proven)
        let earlier = try await chain.bench.verify("1") { $0.source = chain.bench.path("disk.qcow2") }
        #expect(earlier.verdict == .different)
        #expect(earlier.reports[0].comparison?.firstDifference == 1100 << 10)
        #expect(earlier.reports[0].layers.allSatisfy { $0.verdict == .proven && $0.isComplete })
        // No time for all of it.
        let short = try await chain.bench.verify("2") {
            ($0.source, $0.duration) = (chain.bench.path("disk.qcow2"), .nanoseconds(1))
        }
        #expect(short.reports[0].comparison?.comparedLength == 0 && short.verdict != .proven)
        #expect(
            try await refusal { _ = try await chain.bench.verify("2") { $0.source = "/nothing" } }.code == .notFound)
    }

    /// A device is as long as it is: what lies behind the disk that was copied to it is nobody's business.
    @Test(arguments: [512, 1 << 16, 3 << 20]) func longerRaw(tail: Int) async throws {
        let bytes = try bench.makeSource(length: (1 << 20) + 1536)
        try await bench.backUp(to: "b") { $0.targetFormat = .raw }
        try bench.directory.write(bytes + [UInt8](repeating: 7, count: tail), to: "b")
        #expect(try await bench.verify("b").verdict == .proven)
        let report = await ManifestReport(besides: try bench.file("b"), nil, virtualSize: UInt64(bytes.count + tail))
        #expect(report?.proof.state == .proven)
        var request = RestoreRequest(source: bench.path("b"), target: bench.path("r"))
        (request.copy.sourceFormat, request.targetFormat) = (.raw, .raw)
        let final = request
        try await BackupShelf.patiently {
            let summary = try await BackupOperation(restoring: final) { _ in }.run()
            #expect(summary.proof == .part)
        }
        #expect(haveSameBytes(try bench.directory.read("r"), try bench.directory.read("b")))
        try bench.change("b", at: 1 << 20, by: 1)
        #expect(try await bench.verify("b").verdict == .bad)
    }

    /// Two names of one file, each with a manifest of its own.
    @Test func hardLinks() async throws {
        try bench.makeSource("one.raw", length: 1 << 20)
        try bench.makeSource("other.raw", length: 1 << 20, seed: 2)
        for name in ["one", "other"] {
            try await bench.backUp("\(name).raw", to: name) { $0.targetFormat = .raw }
        }
        try bench.remove("other")
        try FileManager.default.linkItem(atPath: bench.path("one"), toPath: bench.path("other"))
        let reports = try await bench.verify("one", "other").reports
        #expect(reports.map(\.verdict) == [.proven, .bad])
    }

    /// What was copied on top of something that is no backup.
    @Test func top() async throws {
        try await bench.directory.makeImage("base.qcow2", length: 1 << 20)
        try await bench.directory.makeOverlay("disk.qcow2", over: "base.qcow2", length: 1 << 20)
        try await bench.backUp("disk.qcow2", to: "top") { $0.sync = .top }
        let outcome = try await bench.verify("top")
        #expect(outcome.verdict == .unproven)
        #expect(outcome.reports[0].layers.map(\.verdict) == [.proven, .unproven])
        #expect(outcome.reports[0].layers[1].manifest == .missing)
        // Where the base is a backup itself, all is proven.
        try await bench.backUp("base.qcow2", to: "copy")
        try await bench.directory.makeOverlay("disk2.qcow2", over: "copy", length: 1 << 20)
        try await bench.backUp("disk2.qcow2", to: "top2") { $0.sync = .top }
        #expect(try await bench.verify("top2").verdict == .proven)
    }

    /// While somebody writes to the disk, a backup is none of one moment; but it is what its manifest says.
    @Test(arguments: [BackupRequest.CopyRange.on, .off]) func changingSource(copyRange: BackupRequest.CopyRange)
        async throws
    {
        try bench.makeSource(length: 4 << 20)
        let writer = WorkerThreads(count: 1)
        defer { writer.stop() }
        for round in 0..<(isHeavyRun ? 100 : 3) {
            // On a thread of its own: it never waits.
            let writing = Task(executorPreference: writer) {
                var random = SeededRandom(seed: UInt64(round))
                while !Task.isCancelled {
                    try bench.change("disk.raw", at: Int.random(in: 0..<4 << 20, using: &random), by: 1)
                }
            }
            _ = try await bench.backUp(to: "\(round)") {
                ($0.targetFormat, $0.copyRange, $0.forceShare) = (.raw, copyRange, true)
            }
            writing.cancel()
            try await writing.value
            #expect(try await bench.verify("\(round)").verdict == .proven)
        }
    }
}
