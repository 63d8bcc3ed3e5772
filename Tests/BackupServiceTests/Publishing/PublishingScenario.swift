// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DiskChain
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

@testable import BackupService

/// A kind of backup whose end is disturbed: of a second disk, over the backup `b` of a first one or where nothing is.
struct PublishingScenario: Sendable, CustomTestStringConvertible {
    let testDescription: String
    var isReplacing = true
    var isRaw = false
    var hasDataFile = false
    var isManifestElsewhere = false
    var isRestore = false

    static let all = [
        PublishingScenario(testDescription: "new", isReplacing: false),
        PublishingScenario(testDescription: "new, raw", isReplacing: false, isRaw: true),
        PublishingScenario(testDescription: "new, with a data file", isReplacing: false, hasDataFile: true),
        PublishingScenario(testDescription: "replacing"),
        PublishingScenario(testDescription: "replacing, raw", isRaw: true),
        PublishingScenario(testDescription: "replacing a data file too", hasDataFile: true),
        PublishingScenario(testDescription: "replacing, manifest elsewhere", isManifestElsewhere: true),
        PublishingScenario(testDescription: "restored over it", isRestore: true),
    ]

    func change(_ request: inout BackupRequest, in bench: VerifyBench) {
        if isRaw { request.targetFormat = .raw }
        if hasDataFile { request.targetOptions = ["data_file=b.data"] }
        if isManifestElsewhere { request.manifest = bench.path("other") }
    }

    static let length = 300_000

    /// What a disk holds.
    enum Disk: String {
        case first = "1.raw"
        case second = "2.raw"
    }

    /// Makes the disks, and the backup that there is before.
    func prepare() async throws -> VerifyBench {
        let bench = try VerifyBench()
        try bench.makeSource(Disk.first.rawValue, length: Self.length, seed: 1)
        try bench.makeSource(Disk.second.rawValue, length: Self.length, seed: 2)
        if isReplacing { try await bench.backUp(Disk.first.rawValue, to: "b") { change(&$0, in: bench) } }
        if isRestore { try await bench.backUp(Disk.second.rawValue, to: "2") }
        return bench
    }

    /// The run that is disturbed.
    func run(in bench: VerifyBench) async throws -> BackupSummary {
        if isRestore {
            var request = RestoreRequest(source: bench.path("2"), target: bench.path("b"))
            request.copy.existingTarget = .replace
            request.copy.workers = 2
            let final = request
            return try await BackupOperation(restoring: final) { _ in }.run()
        }
        var request = BackupRequest(source: bench.path(Disk.second.rawValue), target: bench.path("b"))
        request.sourceFormat = .raw
        request.workers = 2
        if isReplacing { request.existingTarget = .replace }
        change(&request, in: bench)
        let final = request
        return try await BackupOperation(final) { _ in }.run()
    }

    /// The disk that the backup shows; `nil` where there is none.
    ///
    /// - Throws: where it is neither of the two.
    func shown(in bench: VerifyBench) async throws -> Disk? {
        guard bench.directory.exists("b") else { return nil }
        let disk = try await DiskOpener(lock: nil).open(bench.path("b"), format: isRaw ? .raw : .qcow2)
        let bytes = try await disk.device.bytes(at: 0, count: Self.length)
        for known in [Disk.first, .second] where try bench.directory.read(known.rawValue) == bytes { return known }
        return try #require(nil as Disk?, "neither disk, or a part of one")
    }

    func verdict(in bench: VerifyBench) async throws -> VerifyReport.Verdict {
        try await bench.verify("b") {
            if isRaw { $0.format = .raw }
            if isManifestElsewhere { $0.manifest = bench.path("other") }
        }.verdict
    }
}

/// The calls of a process, seen from the files: they are counted, and one of them is disturbed.
final class DisturbedCalls: Sendable {
    enum Disturbance: Sendable, CaseIterable {
        /// It fails, and the run goes on.
        case failure
        /// The process ends before it, and after it.
        case endBefore, endAfter
    }

    private let disturbance: Disturbance
    private let number: Int
    private let state = Locked(0)
    private let isEnded = Locked(false)

    /// - Parameter number: of the call, from 1 on.
    init(_ disturbance: Disturbance, at number: Int) {
        self.disturbance = disturbance
        self.number = number
    }

    /// Calls so far.
    var count: Int { state.withLock { $0 } }

    private func call<Failure>(_ failure: Failure, _ body: () -> Failure?) -> Failure? {
        let count = state.withLock { count in
            count += 1
            return count
        }
        if isEnded.withLock({ $0 }) { return failure }
        guard count == number else { return body() }
        if disturbance != .failure { isEnded.withLock { $0 = true } }
        if disturbance == .endAfter { _ = body() }
        return failure
    }

    var calls: NameCalls {
        let real = NameCalls()
        return NameCalls(
            rename: { one, other in self.call(.ioError) { real.rename(one, other) } },
            renameToNew: { one, other in self.call(.ioError) { real.renameToNew(one, other) } },
            unlink: { path in self.call(.ioError) { real.unlink(path) } },
            syncFolder: { path in self.call(.init(call: "fsync", errno: .ioError)) { real.syncFolder(path) } },
            close: { file in
                // The end of a process closes its files too.
                let error = real.close(file)
                return self.call(.system(SystemCallError(call: "close", errno: .ioError, path: file.name))) { error }
            })
    }
}
