// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore
import BackupManifest
import BlockIO
import DiskChain
import Foundation
import Glibc
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

@testable import BackupService

/// Storage that refuses what others allow: what was written is not taken for durable, what will fail is told before
/// anything is copied, and what can be done in another way is.
@Suite struct OddStorageTests {
    /// Calls of storage that takes data, and refuses some file's when it is closed.
    static func refusing(_ suffix: String) -> NameCalls {
        var calls = NameCalls()
        calls.close = { file in
            let error = NameCalls().close(file)
            guard file.name.hasSuffix(suffix) else { return error }
            return .system(SystemCallError(call: "close", errno: .diskQuotaExceeded, path: file.name))
        }
        return calls
    }

    // MARK: Closing

    struct Closing: Sendable, CustomTestStringConvertible {
        let scenario: PublishingScenario
        let file: String
        var testDescription: String { "\(scenario.testDescription): \(file)" }

        static let all = PublishingScenario.all.flatMap { scenario in
            ["b.partial", "b.manifest.partial", "b.data.partial", "other.partial"].map {
                Closing(scenario: scenario, file: $0)
            }
        }
    }

    /// Whatever file it is: the backup has failed, and what was there stays.
    @Test(arguments: Closing.all) func closing(closing: Closing) async throws {
        let scenario = closing.scenario
        let bench = try await scenario.prepare()
        let before = try bench.directory.names()
        let isWritten =
            switch closing.file {
            case "b.data.partial": scenario.hasDataFile
            case "b.manifest.partial": !scenario.isManifestElsewhere && !scenario.isRestore
            case "other.partial": scenario.isManifestElsewhere
            default: true
            }
        let run = {
            try await NameCalls.$current.withValue(Self.refusing(closing.file)) { try await scenario.run(in: bench) }
        }
        guard isWritten else {
            _ = try await run()
            return
        }
        let error = try await refusal { _ = try await run() }
        #expect(error.code == .noSpace)
        #expect(error.message.contains(closing.file) && error.message.contains("close"), "\(error.message)")
        #expect(try bench.directory.names() == before)
        if scenario.isReplacing {
            #expect(try await scenario.shown(in: bench) == .first)
            #expect(try await scenario.verdict(in: bench) == .proven)
        }
    }

    /// A target that exists is marked unfinished again, and its manifest goes.
    @Test(arguments: [false, true]) func closingExisting(isRaw: Bool) async throws {
        let bench = try VerifyBench()
        try bench.makeSource(length: 1 << 20)
        if isRaw {
            try bench.directory.write([UInt8](repeating: 9, count: 1 << 20), to: "b")
        } else {
            try await bench.directory.makeImage("b", length: 1 << 20)
        }
        let error = try await refusal {
            try await NameCalls.$current.withValue(Self.refusing("/b")) {
                _ = try await bench.backUp(to: "b") {
                    $0.existingTarget = .reuse
                    if isRaw { $0.targetFormat = .raw }
                }
            }
        }
        #expect(error.code == .noSpace)
        #expect(try bench.directory.read("b").prefix(512).allSatisfy { $0 == 0 })
        #expect(try bench.directory.names() == ["b", "disk.raw"])
    }

    /// So is one with a data file, whichever of the two can't be closed.
    @Test(arguments: ["/b", "/b.data"]) func closingExistingPair(file: String) async throws {
        let bench = try VerifyBench()
        try bench.makeSource(length: 1 << 20)
        try await bench.backUp(to: "b") { $0.targetOptions = ["data_file=b.data"] }
        let error = try await refusal {
            try await NameCalls.$current.withValue(Self.refusing(file)) {
                _ = try await bench.backUp(to: "b") { $0.existingTarget = .reuse }
            }
        }
        #expect(error.code == .noSpace && !error.message.contains("could not be marked"), "\(error.message)")
        #expect(try bench.directory.read("b").prefix(512).allSatisfy { $0 == 0 })
    }

    /// The manifest of what a backup goes on is not replaced by its own.
    @Test func manifestOfTheParent() async throws {
        let shelf = try await BackupShelf()
        try await shelf.backUp("a") { ($0.bitmap, $0.createsBitmap) = ("b0", true) }
        let before = try shelf.read("a.manifest")
        let error = try await refusal {
            try await shelf.backUp("b") {
                ($0.sync, $0.bitmap, $0.parent) = (.incremental, "b0", shelf.file("a"))
                ($0.manifest, $0.existingTarget) = (shelf.file("a.manifest"), .replace)
            }
        }
        #expect(error.code == .usage && error.message.contains("is the manifest of"), "\(error.message)")
        #expect(try shelf.read("a.manifest") == before)
    }

    /// What has the manifest's name and is none stays, whoever looks.
    @Test func pendingBehindAnotherFile() async throws {
        let bench = try VerifyBench()
        try bench.makeSource(length: 1 << 20)
        try await bench.backUp(to: "b")
        let manifest = try bench.directory.read("b.manifest")
        try bench.directory.write(manifest, to: "b.manifest.partial")
        try bench.directory.write([1, 2, 3], to: "b.manifest")
        _ = try? await bench.verify("b")
        #expect(try bench.directory.read("b.manifest") == [1, 2, 3])
        #expect(try bench.directory.read("b.manifest.partial") == manifest)
    }

    /// The bitmap stays where the backup isn't sure; a source that takes the bitmap's change back is told.
    @Test(arguments: ["b.partial", "disk.qcow2"]) func bitmap(file: String) async throws {
        let shelf = try await BackupShelf()
        try await shelf.backUp("a") { ($0.bitmap, $0.createsBitmap) = ("b0", true) }
        let disk = shelf.directory.file("disk.qcow2").string
        let before = try shelf.directory.read("disk.qcow2")
        var request = BackupRequest(source: disk, target: shelf.file("b"))
        request.bitmap = "b0"
        let operation = BackupOperation(request) { _ in }
        try await NameCalls.$current.withValue(Self.refusing(file)) {
            if file == "b.partial" {
                _ = try await refusal { _ = try await operation.run() }
                #expect(try shelf.directory.read("disk.qcow2") == before)
            } else {
                let summary = try await operation.run()
                #expect(summary.bitmapFailure?.code == .bitmapNotUpdated)
                #expect(summary.bitmap?.update == .unknown)
            }
        }
    }

    @Test func verifyState() async throws {
        let bench = try VerifyBench()
        try bench.makeSource(length: 1 << 20)
        try await bench.backUp(to: "b")
        let outcome = try await NameCalls.$current.withValue(Self.refusing("b.verified.partial")) {
            try await bench.verify("b")
        }
        #expect(outcome.verdict == .proven)
        #expect(outcome.warnings.count == 1 && outcome.warnings[0].contains("can't be kept"), "\(outcome.warnings)")
        #expect(try bench.directory.names() == ["b", "b.manifest", "disk.raw"])
    }

    // MARK: Open files

    /// Calls of a host that renames nothing that this process has open, and nothing over it.
    private static let refusingOpen: NameCalls = {
        let real = NameCalls()
        var calls = real
        calls.rename = { one, other in isOpen(one) || isOpen(other) ? .permissionDenied : real.rename(one, other) }
        calls.renameToNew = { one, other in isOpen(one) ? .resourceBusy : real.renameToNew(one, other) }
        calls.unlink = { path in isOpen(path) ? .resourceBusy : real.unlink(path) }
        return calls
    }()

    private static func isOpen(_ path: String) -> Bool {
        let links = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []
        return links.contains {
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)")) == path
        }
    }

    @Test(arguments: PublishingScenario.all) func openFiles(scenario: PublishingScenario) async throws {
        let bench = try await scenario.prepare()
        try await NameCalls.$current.withValue(Self.refusingOpen) {
            for _ in 0..<2 {
                var next = scenario
                next.isReplacing = bench.directory.exists("b")
                _ = try await next.run(in: bench)
                #expect(try await scenario.shown(in: bench) == .second)
                guard !scenario.isRestore else { continue }
                #expect(try await scenario.verdict(in: bench) == .proven)
                #expect(try await scenario.verdict(in: bench) == .proven)
            }
        }
        #expect(try !bench.directory.names().contains { $0.hasSuffix(".partial") })
    }

    // MARK: At the start

    struct Early: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let code: ServiceError.Code
        let message: String
        var advice: String?
        var isReplacing = false
        let change: @Sendable (inout NameCalls) -> Void
    }

    private static let earlyCases = [
        Early(testDescription: "drop box", code: .permission, message: "open: Permission denied", advice: "readable") {
            $0.syncFolder = { _ in .init(call: "open", errno: .permissionDenied) }
        },
        Early(
            testDescription: "unsyncable folder", code: .io, message: "fsync: Input/output error", advice: "-n",
            isReplacing: true
        ) {
            $0.syncFolder = { _ in .init(call: "fsync", errno: .ioError) }
        },
        Early(testDescription: "no renaming", code: .unsupported, message: "can be renamed") {
            $0.renameToNew = { _, _ in .notSupported }
        },
        Early(
            testDescription: "no replacing", code: .unsupported, message: "can be replaced", advice: "-n",
            isReplacing: true
        ) {
            $0.rename = { _, _ in .fileExists }
        },
    ]

    @Test(arguments: earlyCases) func early(early: Early) async throws {
        var scenario = PublishingScenario.all[0]
        scenario.isReplacing = early.isReplacing
        let bench = try await scenario.prepare()
        let before = try bench.directory.names()
        var calls = NameCalls()
        early.change(&calls)
        var request = BackupRequest(source: bench.path("2.raw"), target: bench.path("b"))
        request.sourceFormat = .raw
        if early.isReplacing { request.existingTarget = .replace }
        let operation = BackupOperation(request) { _ in }
        let error = try await refusal {
            try await NameCalls.$current.withValue(calls) { _ = try await operation.run() }
        }
        #expect(operation.progress.length == 0, "nothing was copied")
        #expect(error.code == early.code)
        #expect(error.message.contains(early.message), "\(error.message)")
        if let advice = early.advice { #expect(error.advice?.contains(advice) == true, "\(error.advice ?? "")") }
        #expect(try bench.directory.names() == before)
    }

    /// What has a name by the time of the rename, and can't be replaced: not a disk in use, and `-n` is the way.
    @Test func busyAtTheEnd() async throws {
        let bench = try await PublishingScenario.all[3].prepare()
        var calls = NameCalls()
        calls.rename = { one, other in other.hasSuffix("/b") ? .resourceBusy : NameCalls().rename(one, other) }
        let error = try await refusal {
            try await NameCalls.$current.withValue(calls) { _ = try await PublishingScenario.all[3].run(in: bench) }
        }
        #expect(error.code == .io)
        #expect(error.advice?.hasPrefix("-n writes into") == true, "\(error.advice ?? "")")
        #expect(try await PublishingScenario.all[3].verdict(in: bench) == .proven)
    }

    /// The old file stays locked where the error has nothing to do with that.
    @Test(arguments: [(Errno.ioError, 1), (.noSpace, 1), (.permissionDenied, 2)])
    func lockUntilTheEnd(error: Errno, tries: Int) async throws {
        let bench = try await PublishingScenario.all[3].prepare()
        let count = Locked(0)
        var calls = NameCalls()
        calls.rename = { one, other in
            guard other.hasSuffix("/b") else { return NameCalls().rename(one, other) }
            count.withLock { $0 += 1 }
            return error
        }
        _ = try await refusal {
            try await NameCalls.$current.withValue(calls) { _ = try await PublishingScenario.all[3].run(in: bench) }
        }
        #expect(count.withLock { $0 } == tries)
        #expect(try await PublishingScenario.all[3].verdict(in: bench) == .proven)
    }

    /// A listing may put a manifest in place between the last look and the rename.
    @Test func manifestInPlaceAlready() async throws {
        let scenario = PublishingScenario.all[0]
        let bench = try await scenario.prepare()
        var calls = NameCalls()
        calls.renameToNew = { one, other in
            if other.hasSuffix(Manifest.suffix) { _ = NameCalls().renameToNew(one, other) }
            return NameCalls().renameToNew(one, other)
        }
        try await NameCalls.$current.withValue(calls) { _ = try await scenario.run(in: bench) }
        #expect(try await scenario.verdict(in: bench) == .proven)
    }

    /// What can't be made durable at all is no backup.
    @Test func nothingIsSynced() async throws {
        let scenario = PublishingScenario.all[0]
        let bench = try await scenario.prepare()
        var calls = NameCalls()
        calls.syncFolder = { _ in NameCalls.Failure(call: "syncfs", errno: .ioError) }
        let error = try await refusal {
            try await NameCalls.$current.withValue(calls) { _ = try await scenario.run(in: bench) }
        }
        #expect(error.code == .io)
    }
}
