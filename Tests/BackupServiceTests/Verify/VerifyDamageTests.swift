// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BlockIO
import DiskChain
import Foundation
import Qcow2Format
import TestSupport
import Testing

@testable import BackupService

/// What is not as it was written is found: all bits, all lengths, all parents.
@Suite struct VerifyDamageTests {
    private let bench: VerifyBench

    init() throws {
        bench = try VerifyBench()
    }

    struct Shape: Sendable, CustomTestStringConvertible {
        var name: String
        var length: Int
        var change: @Sendable (inout BackupRequest) -> Void
        var testDescription: String { name }
    }

    static let shapes =
        [
            Shape(name: "raw", length: 1024) { $0.targetFormat = .raw },
            Shape(name: "clusters of 512 bytes", length: 1024) { $0.targetOptions = ["cluster_size=512"] },
            Shape(name: "zlib", length: 3 * 65_536 + 512) { $0.compression = CompressionSettings() },
            Shape(name: "zstd", length: 3 * 65_536 + 512) { $0.compression = CompressionSettings(type: .zstd) },
        ] + (isHeavyRun ? [Shape(name: "four units", length: 4 * 65_536) { _ in }] : [])

    /// All bits of all sectors that hold content, in turn: each is found, or changes no byte of the disk.
    @Test(arguments: shapes) func everyBit(shape: Shape) async throws {
        let content = try bench.makeSource(length: shape.length)
        try await bench.backUp(to: "b", shape.change)
        let disk = try await DiskOpener(lock: nil).open(
            bench.path("b"), format: shape.name == "raw" ? .raw : .qcow2)
        let chain = try await VerifiedChain(disk, own: ManifestFile(besides: bench.path("b")), usesManifests: true)
        let proof = try #require(chain.proofs[0])
        var buffer = AlignedBuffer(count: 1 << 20)
        let isSound = await proof.fault(inRange: 0, &buffer).map { _ in false } ?? true
        #expect(isSound)
        let file = try LocalStorage.open(bench.path("b"), access: .readWrite, lock: nil)
        var (bits, misses) = (0, 0)
        for sector in 0..<Int(file.length) / 512 {
            let before = try await file.bytes(at: UInt64(sector) * 512, count: 512)
            // Tables are in memory by now, so only content is read.
            try await file.write(at: UInt64(sector) * 512, bytes: before.map { ~$0 })
            let holdsContent = await proof.fault(inRange: 0, &buffer).map { _ in true } ?? false
            if holdsContent {
                for byte in before.indices {
                    for bit in 0..<8 {
                        try await file.write(at: UInt64(sector * 512 + byte), bytes: [before[byte] ^ 1 << UInt8(bit)])
                        bits += 1
                        if case .some = await proof.fault(inRange: 0, &buffer) { continue }
                        // Behind the end of what is compressed, or in what doesn't count there.
                        misses += 1
                        let now = try? await disk.device.bytes(at: 0, count: shape.length)
                        let isSame = now.map { haveSameBytes($0, content) }
                        #expect(isSame == true, "sector \(sector), byte \(byte), bit \(bit)")
                    }
                }
            }
            try await file.write(at: UInt64(sector) * 512, bytes: before)
        }
        #expect(bits >= 4096)
        #expect(shape.length > 1024 || misses == 0 && bits == 8192)
    }

    /// The same from the command's side: bytes all over the file, tables and all.
    @Test(arguments: shapes) func someBytes(shape: Shape) async throws {
        let content = try bench.makeSource(length: shape.length)
        try await bench.backUp(to: "b", shape.change)
        let length = try bench.directory.read("b").count
        let isRaw = shape.name == "raw"
        for offset in stride(from: 0, to: length, by: isHeavyRun ? 1 : max(isRaw ? 7 : length / 100, 1)) {
            let mask: UInt8 = 1 << UInt8(offset % 8)
            try bench.change("b", at: offset, by: mask)
            let verdict = try await bench.verify("b").verdict
            if verdict == .proven {
                #expect(!isRaw)
                let disk = try? await DiskOpener(lock: nil).open(bench.path("b"), format: .qcow2)
                let now = try? await disk?.device.bytes(at: 0, count: shape.length)
                let isSame = now.map { haveSameBytes($0, content) }
                #expect(isSame == true, "byte \(offset) is changed by \(mask)")
            }
            try bench.change("b", at: offset, by: mask)
        }
        #expect(try await bench.verify("b").verdict == .proven)
    }

    static let truncated = [
        Shape(name: "raw", length: 65_536) { $0.targetFormat = .raw },
        Shape(name: "clusters of 4 KiB", length: 65_536) { $0.targetOptions = ["cluster_size=4k"] },
        Shape(name: "zlib", length: 5 * 65_536) {
            $0.compression = CompressionSettings()
            $0.targetOptions = ["cluster_size=4k"]
        },
        Shape(name: "zstd", length: 5 * 65_536) {
            $0.compression = CompressionSettings(type: .zstd)
            $0.targetOptions = ["cluster_size=4k"]
        },
    ]

    @Test(arguments: truncated) func everyLength(shape: Shape) async throws {
        let content = try bench.makeSource(length: shape.length)
        try await bench.backUp(to: "b", shape.change)
        let bytes = try bench.directory.read("b")
        for length in stride(from: 0, to: bytes.count, by: 512) {
            try bench.directory.write(Array(bytes.prefix(length)), to: "b")
            let verdict = try await bench.verify("b").verdict
            if verdict == .proven {
                // Only what nothing refers to may be missing.
                let disk = try? await DiskOpener(lock: nil).open(bench.path("b"), format: .qcow2)
                let now = try? await disk?.device.bytes(at: 0, count: shape.length)
                let isSame = now.map { haveSameBytes($0, content) }
                #expect(isSame == true && length > bytes.count - 65_536, "\(length) of \(bytes.count) bytes")
            }
            #expect(shape.name != "raw" || verdict != .proven)
        }
    }

    @Test func externalData() async throws {
        try bench.makeSource(length: 65_536 * 2)
        try await bench.backUp(to: "b") { $0.targetOptions = ["data_file=\(bench.path("data"))"] }
        let bytes = try bench.directory.read("data")
        for offset in stride(from: 0, to: bytes.count, by: 1021) {
            try bench.change("data", at: offset, by: 0x10)
            let verdict = try await bench.verify("b").verdict
            // Zero clusters needn't be zero in the file.
            let isZero = offset / 65_536 == 1
            #expect(verdict == .bad || isZero, "byte \(offset)")
            try bench.change("data", at: offset, by: 0x10)
        }
        for length in stride(from: 0, to: 65_536, by: 4096) {
            try bench.directory.write(Array(bytes.prefix(length)), to: "data")
            #expect(try await bench.verify("b").verdict == .bad, "\(length) bytes")
        }
        // What is proven holds for both files.
        try bench.directory.write(bytes, to: "data")
        #expect(try await bench.verify("b").verdict == .proven)
        func state() async throws -> ProofRecord.State? {
            let file = try bench.file("b")
            let image = try await Qcow2File(file)
            return await ManifestReport(besides: file, image, virtualSize: image.virtualSize)?.proof.state
        }
        #expect(try await state() == .proven)
        try bench.change("data", at: 7, by: 1)
        #expect(try await state() == .never)
        // It may be elsewhere.
        try bench.remove("data")
        #expect(try await refusal { _ = try await bench.verify("b") }.code == .notFound)
    }

    // MARK: Parents

    /// Another backup under the parent's name, with its manifest, with the old one, and without any.
    @Test(
        .enabled(if: VerifyChain.canBeMade, VerifyChain.needs), arguments: ImageFormat.allCases,
        ["with its own manifest", "with the old manifest", "without a manifest"])
    func swappedParent(format: ImageFormat, manifest: String) async throws {
        let chain = try await VerifyChain(parentFormat: format)
        let bench = chain.bench
        try await bench.backUp("disk.qcow2", to: "other") { $0.targetFormat = format }
        try bench.move("other", to: "0")
        switch manifest {
        case "with its own manifest": try bench.move("other.manifest", to: "0.manifest")
        case "without a manifest": try bench.remove("0.manifest")
        default: break
        }
        for name in ["1", "2"] {
            let outcome = try await bench.verify(name)
            let isKnown = format == .qcow2 || manifest != "without a manifest"
            #expect(outcome.verdict == (isKnown ? .bad : .unproven), "\(name): \(outcome.reports)")
        }
        // A restore refuses it too, unless it is told to trust the files.
        guard manifest == "with its own manifest" else { return }
        func restore(_ target: String, _ change: (inout RestoreRequest) -> Void = { _ in }) async throws -> [String] {
            var request = RestoreRequest(source: bench.path("2"), target: bench.path(target))
            change(&request)
            let warnings = Locked<[String]>([])
            _ = try await BackupOperation(restoring: request) { line in warnings.withLock { $0.append(line) } }.run()
            return warnings.withLock { $0 }
        }
        let error = try await refusal { _ = try await restore("r") }
        #expect(error.code == .inconsistent)
        #expect(!bench.directory.exists("r"))
        let warnings = try await restore("r") { $0.copy.trustsChain = true }
        #expect(!warnings.isEmpty)
    }

    @Test(.enabled(if: VerifyChain.canBeMade, VerifyChain.needs)) func lostParent() async throws {
        let bench = try await VerifyChain().bench
        try bench.remove("0")
        // What is elsewhere says nothing against the backup, and is told as an error of its own.
        let error = try await refusal { _ = try await bench.verify("2") }
        #expect(error.code == .notFound && error.message.contains("/0") && error.advice?.contains("--chain") == true)
        // A name that never was its parent's does.
        let image = try bench.directory.read("1")
        // The name is where the header says.
        let offset = image[8..<16].reduce(0) { $0 << 8 | Int($1) }
        try #require(image[offset] == UInt8(ascii: "0") && image[16..<20].elementsEqual([0, 0, 0, 1]))
        try bench.change("1", at: offset, by: 4)
        #expect(try await bench.verify("1").verdict == .bad)
        // Moved away together, they are found.
        let folder = bench.path("moved")
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
        let other = try await VerifyChain().bench
        for name in ["0", "1", "2"] {
            try FileManager.default.moveItem(atPath: other.path(name), toPath: "\(folder)/\(name)")
            try FileManager.default.moveItem(
                atPath: other.path(name) + ".manifest", toPath: "\(folder)/\(name).manifest")
        }
        let moved = try await bench.verify("moved/2") { $0.chainFolder = folder }
        #expect(moved.verdict == .proven, "\(moved.reports)")
    }

    // MARK: Restoring

    @Test(arguments: [false, true]) func restore(isCompressed: Bool) async throws {
        let content = try bench.makeSource(length: 4 * 65_536)
        let summary = try await bench.backUp(to: "b") { $0.compression = isCompressed ? CompressionSettings() : nil }
        #expect(summary.manifest != nil)
        func restore(_ target: String, verifies: Bool) async throws -> BackupSummary {
            var request = RestoreRequest(source: bench.path("b"), target: bench.path(target))
            (request.verifies, request.targetFormat) = (verifies, .raw)
            return try await BackupOperation(restoring: request) { _ in }.run()
        }
        #expect(try await restore("r0", verifies: true).proof == .all)
        #expect(haveSameBytes(try bench.directory.read("r0"), content))
        #expect(!bench.directory.exists("r0.manifest"))
        // A bit of the content: the structure is sound with and without it.
        let bytes = try bench.directory.read("b")
        for place in bytes.indices.dropFirst(4096) where bytes[place] != 0 {
            try bench.change("b", at: place, by: 1)
            let report = try await bench.verify("b").reports[0]
            if report.layers.first?.structureProblems == [], report.layers.first?.bad.isEmpty == false { break }
            try bench.change("b", at: place, by: 1)
        }
        #expect(try await bench.verify("b").verdict == .bad)
        _ = try await refusal { _ = try await restore("r1", verifies: true) }
        #expect(!bench.directory.exists("r1") && !bench.directory.exists("r1.partial"))
        guard !isCompressed else { return }
        #expect(try await restore("r2", verifies: false).proof == nil)
        var changed = content
        changed[0] ^= 1
        #expect(haveSameBytes(try bench.directory.read("r2"), changed))
    }
}
