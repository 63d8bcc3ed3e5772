// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DiskChain
import Foundation
import Glibc
import Qcow2Format
import TestSupport
import Testing

@testable import BackupManifest
@testable import BackupService

/// What becomes of manifests: made with their backups, never left beside another one, and never trusted beyond what they prove.
@Suite struct VerifyManifestTests {
    private let bench: VerifyBench

    init() throws {
        bench = try VerifyBench()
        try bench.makeSource(length: 65_536 + 512)
    }

    private func expectUnproven(
        _ name: String, _ reason: String, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let outcome = try await bench.verify(name)
        #expect(outcome.verdict == .unproven, "\(outcome.reports)", sourceLocation: sourceLocation)
        #expect(outcome.reason.contains(reason), "\(outcome.reason)", sourceLocation: sourceLocation)
    }

    // MARK: Reading

    @Test func missing() async throws {
        try await bench.backUp(to: "b")
        try bench.remove("b.manifest")
        let outcome = try await bench.verify("b")
        #expect(outcome.verdict == .unproven)
        #expect(outcome.reports[0].layers[0].manifest == .missing)
        let none = try await bench.backUp(to: "n") { $0.digest = nil }
        #expect(none.manifest == nil && !bench.directory.exists("n.manifest"))
        #expect(try await bench.verify("n").verdict == .unproven)
    }

    @Test func truncatedAndChanged() async throws {
        try await bench.backUp(to: "b")
        let bytes = try bench.directory.read("b.manifest")
        for count in stride(from: 0, to: bytes.count, by: isHeavyRun ? 1 : 13) {
            try bench.directory.write(Array(bytes.prefix(count)), to: "b.manifest")
            try await expectUnproven("b", "b.manifest can't be used: ")
        }
        for index in stride(from: 0, to: bytes.count, by: isHeavyRun ? 1 : 11) {
            var other = bytes
            other[index] ^= 1 << UInt8(index % 8)
            try bench.directory.write(other, to: "b.manifest")
            try await expectUnproven("b", "b.manifest ")
        }
        try bench.directory.write(bytes + [0], to: "b.manifest")
        try await expectUnproven("b", "should have")
        var newer = bytes
        newer["qcowbackup manifest ".utf8.count] = UInt8(ascii: "7")
        try bench.directory.write(newer, to: "b.manifest")
        try await expectUnproven("b", "version 7")
    }

    @Test func another() async throws {
        try await bench.backUp(to: "b")
        try await bench.backUp(to: "c")
        try bench.makeSource("longer.raw", length: 1 << 20)
        try await bench.backUp("longer.raw", to: "d")
        try bench.copy("c.manifest", to: "b.manifest")
        try await expectUnproven("b", "is the manifest of another backup: of c")
        try bench.copy("d.manifest", to: "b.manifest")
        try await expectUnproven("b", "is of a disk of 1048576 bytes")
        // By name the right one is found.
        try bench.copy("c", to: "b")
        let named = try await bench.verify("b") { $0.manifest = bench.path("c.manifest") }
        #expect(named.verdict == .proven)
    }

    @Test(.timeLimit(.minutes(1))) func noFile() async throws {
        try await bench.backUp(to: "b")
        try bench.remove("b.manifest")
        try FileManager.default.createDirectory(atPath: bench.path("b.manifest"), withIntermediateDirectories: false)
        try await expectUnproven("b", "directory")
        try bench.remove("b.manifest")
        #expect(mkfifo(bench.path("b.manifest"), 0o600) == 0)
        try await expectUnproven("b", "b.manifest")
    }

    /// Manifests may be moved; a restore proves by what it finds, and says how far that went.
    @Test func restoreWithout() async throws {
        try await bench.backUp(to: "b")
        let bytes = try bench.directory.read("b.manifest")
        try bench.directory.write(Array(bytes.dropLast()), to: "b.manifest")
        let warnings = Locked<[String]>([])
        let request = RestoreRequest(source: bench.path("b"), target: bench.path("r"))
        let summary = try await BackupOperation(restoring: request) { line in warnings.withLock { $0.append(line) } }
            .run()
        #expect(summary.proof == BackupSummary.Proof.none)
        #expect(warnings.withLock { $0 }.contains { $0.contains("cut off") && $0.contains("unproven") })
    }

    // MARK: Writing

    @Test func header() async throws {
        try await bench.backUp(to: "b") { $0.compression = CompressionSettings() }
        let manifest = try await ManifestFile(besides: bench.path("b")).manifest()
        let header = manifest.header
        #expect(header.target == .init(name: "b", format: "qcow2"))
        #expect(header.source.path == bench.path("disk.raw") && header.source.format == "raw")
        #expect(header.source.length == 65_536 + 512 && header.source.modified != nil)
        #expect(header.sync == "full" && header.parent == nil && header.bitmap == nil && header.isWhole)
        let disk = try await DiskOpener(lock: nil).open(bench.path("b"), format: .qcow2)
        #expect(disk.layers[0].identity?.id.description == header.id)
    }

    /// A new backup in an old one's place never has the old one's manifest, wherever its own goes.
    @Test(arguments: ["beside", "elsewhere", "none"], [ImageFormat.qcow2, .raw])
    func replacing(place: String, format: ImageFormat) async throws {
        try await bench.backUp(to: "b") { $0.targetFormat = format }
        let old = try bench.directory.read("b.manifest")
        try bench.makeSource(length: 65_536 + 512, seed: 2)
        for existing in [BackupRequest.ExistingTarget.replace, .reuse] {
            try bench.directory.write(old, to: "b.manifest")
            try await bench.backUp(to: "b") {
                ($0.targetFormat, $0.existingTarget) = (format, existing)
                if place == "none" { $0.digest = nil }
                if place == "elsewhere" { $0.manifest = bench.path("m") }
            }
            #expect(bench.directory.exists("b.manifest") == (place == "beside"))
            #expect(try await bench.verify("b").verdict == (place == "beside" ? .proven : .unproven))
            guard place == "elsewhere" else { continue }
            let named = try await bench.verify("b") { $0.manifest = bench.path("m") }
            #expect(named.verdict == .proven)
        }
    }

    /// Where the backup that had the name was deleted, its manifest is of no use.
    @Test(arguments: ["beside", "elsewhere", "none"]) func leftBehind(place: String) async throws {
        try await bench.backUp(to: "b")
        try bench.remove("b")
        try await bench.backUp(to: "b") {
            if place == "none" { $0.digest = nil }
            if place == "elsewhere" { $0.manifest = bench.path("m") }
        }
        #expect(try await bench.verify("b").verdict == (place == "beside" ? .proven : .unproven))
        #expect(bench.directory.exists("b.manifest") == (place == "beside"))
    }

    /// A restore that takes a backup's place takes its manifest away.
    @Test func restoredOver() async throws {
        try await bench.backUp(to: "b")
        try await bench.backUp(to: "c")
        var request = RestoreRequest(source: bench.path("c"), target: bench.path("b"))
        request.copy.existingTarget = .replace
        _ = try await BackupOperation(restoring: request) { _ in }.run()
        #expect(!bench.directory.exists("b.manifest"))
    }

    struct Refusal: Sendable, CustomTestStringConvertible {
        var name: String
        var code: ServiceError.Code
        var manifest: String?
        /// Makes what is in the way.
        var prepare: @Sendable (VerifyBench) throws -> Void
        var testDescription: String { name }
    }

    static let refusals = [
        Refusal(name: "another file", code: .exists) { try $0.directory.write([1, 2, 3], to: "b.manifest") },
        Refusal(name: "an empty file", code: .exists) { try $0.directory.write([], to: "b.manifest") },
        Refusal(name: "a directory", code: .exists) {
            try FileManager.default.createDirectory(atPath: $0.path("b.manifest"), withIntermediateDirectories: false)
        },
        Refusal(name: "a link that leads nowhere", code: .exists) {
            try FileManager.default.createSymbolicLink(
                atPath: $0.path("b.manifest"), withDestinationPath: "nowhere")
        },
        Refusal(name: "a directory in the way of writing", code: .exists) {
            try FileManager.default.createDirectory(
                atPath: $0.path("b.manifest.partial"), withIntermediateDirectories: false)
        },
        Refusal(name: "the source", code: .exists, manifest: "disk.raw") { _ in },
        Refusal(name: "the target", code: .usage, manifest: "b") { _ in },
        Refusal(name: "the target by another name", code: .usage, manifest: "./b") { _ in },
        Refusal(name: "no folder", code: .notFound, manifest: "no/m") { _ in },
        Refusal(name: "a manifest that was named by hand", code: .exists, manifest: "m") {
            try $0.directory.write(Array("qcowbackup manifest 1\n".utf8), to: "m")
        },
        // It would be written over before it gets its name.
        Refusal(name: "the source while it is written", code: .usage, manifest: "disk") {
            try $0.copy("disk.raw", to: "disk.partial")
        },
    ]

    /// Before anything is copied; and nothing is left, or changed.
    @Test(arguments: refusals) func refused(refusal one: Refusal) async throws {
        try one.prepare(bench)
        let before = try bench.directory.names()
        let isPartial = one.manifest == "disk"
        let source = isPartial ? "disk.partial" : "disk.raw"
        let content = try bench.directory.read(source)
        let error = try await refusal {
            _ = try await bench.backUp(source, to: "b") {
                $0.sourceFormat = .raw
                // Without locks, which would be in the way as well.
                $0.forceShare = true
                $0.manifest = one.manifest.map { bench.path($0) }
            }
        }
        #expect(error.code == one.code, "\(error)")
        #expect(try bench.directory.names() == before)
        #expect(try bench.directory.read(source) == content)
    }

    /// What is in the way of no manifest is nobody's business.
    @Test func notWanted() async throws {
        try bench.directory.write([1, 2, 3], to: "b.manifest")
        try await bench.backUp(to: "b") { $0.digest = nil }
        #expect(try bench.directory.read("b.manifest") == [1, 2, 3])
    }

    /// A run that fails leaves nothing, and an old backup with its manifest.
    @Test func failedRun() async throws {
        try await bench.backUp(to: "b")
        let (image, manifest) = (try bench.directory.read("b"), try bench.directory.read("b.manifest"))
        var request = BackupRequest(source: bench.path("disk.raw"), target: bench.path("b"))
        (request.sourceFormat, request.existingTarget) = (.raw, .replace)
        let operation = BackupOperation(request) { _ in }
        operation.cancel()
        _ = try await refusal { _ = try await operation.run() }
        // A source that ends before its end.
        try await bench.directory.makeImage("cut.qcow2", length: 65_536) { $0.clusterBits = 12 }
        let image2 = try bench.directory.read("cut.qcow2")
        try bench.directory.write(Array(image2.prefix(4096)), to: "cut.qcow2")
        _ = try await refusal { _ = try await bench.backUp("cut.qcow2", to: "b") { $0.existingTarget = .replace } }
        #expect(try bench.directory.read("b") == image)
        #expect(try bench.directory.read("b.manifest") == manifest)
        #expect(try bench.directory.names() == ["b", "b.manifest", "cut.qcow2", "disk.raw"])
        #expect(try await bench.verify("b").verdict == .proven)
    }

    /// A disk whose length is no whole number of sectors: nobody makes one, but a manifest can say so.
    @Test(arguments: [999, 1000, 1001, 1024, 5000]) func oddLength(fileLength: Int) async throws {
        try bench.makeSource(length: 1024)
        try await bench.backUp(to: "b") { $0.targetFormat = .raw }
        var header = try await ManifestFile(besides: bench.path("b")).header()
        header.virtualSize = 1000
        let bytes = try bench.directory.read("b") + [UInt8](repeating: 0, count: 4096)
        let recorder = ContentRecorder(virtualSize: 1000, algorithm: .xxh3)
        let content = Array(bytes[..<1000])
        recorder.record(at: 0, content.span.bytes)
        try bench.directory.write(Array(bytes[..<fileLength]), to: "b")
        let found = try await recorder.finish(isWhole: true, reading: try SectorDisk(bench.file("b")))
        let summary = try await found.summary()
        (header.content, header.bodyLength) = (summary.root.description, summary.bodyLength)
        let file = try LocalStorage.open(bench.path("b.manifest"), access: .readWrite, lock: nil)
        try await Manifest.write(header, found, to: file)
        #expect(try await bench.verify("b").verdict == (fileLength < 1000 ? .bad : .proven))
    }
}
