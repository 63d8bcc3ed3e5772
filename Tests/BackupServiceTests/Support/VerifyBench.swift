// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore
import BlockIO
import DiskChain
import Foundation
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

@testable import BackupService

/// A folder in which backups are made, damaged and proven.
struct VerifyBench {
    let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
    }

    func file(_ name: String) throws -> any Storage {
        try LocalStorage.open(path(name), access: .readOnly, lock: nil)
    }

    func path(_ name: String) -> String { directory.file(name).string }

    /// A raw disk in which each unit has some bytes of its own, or none.
    @discardableResult
    func makeSource(_ name: String = "disk.raw", length: Int, seed: UInt64 = 1) throws -> [UInt8] {
        var random = SeededRandom(seed: seed)
        var bytes = [UInt8](repeating: 0, count: length)
        for start in stride(from: 0, to: length, by: 65_536) where start % (3 * 65_536) != 65_536 {
            for index in start..<min(start + 64, length) { bytes[index] = UInt8.random(in: 1...255, using: &random) }
            bytes[min(start + 65_536, length) - 1] = UInt8.random(in: 1...255, using: &random)
        }
        try directory.write(bytes, to: name)
        return bytes
    }

    @discardableResult
    func backUp(
        _ source: String = "disk.raw", to target: String, _ change: (inout BackupRequest) -> Void = { _ in }
    ) async throws -> BackupSummary {
        var request = BackupRequest(source: path(source), target: path(target))
        if source.hasSuffix(".raw") { request.sourceFormat = .raw }
        request.workers = 2
        change(&request)
        let final = request
        var summary: BackupSummary?
        try await BackupShelf.patiently { summary = try await BackupOperation(final) { _ in }.run() }
        return try #require(summary)
    }

    struct Outcome {
        var reports: [VerifyReport]
        var warnings: [String]
        var progress: BackupProgress

        var verdict: VerifyReport.Verdict { reports[0].verdict }
        /// All that is said of the first file of the first backup.
        var reason: String {
            guard let layer = reports[0].layers.first else { return reports[0].problems.joined() }
            if case .unusable(let reason) = layer.manifest { return reason }
            return (layer.problems + (layer.structureProblems ?? [])).joined(separator: "; ")
        }
    }

    func verify(_ backups: String..., change: (inout VerifyRequest) -> Void = { _ in }) async throws -> Outcome {
        var request = VerifyRequest(backups: backups.map(path))
        request.workers = 2
        change(&request)
        let final = request
        var outcome: Outcome?
        try await BackupShelf.patiently {
            let warnings = Locked<[String]>([])
            let operation = VerifyOperation(final) { line in warnings.withLock { $0.append(line) } }
            let reports = try await operation.run()
            outcome = Outcome(
                reports: reports, warnings: warnings.withLock { $0 }, progress: operation.progress)
        }
        return try #require(outcome)
    }

    /// Changes bits of a file in place.
    func change(_ name: String, at offset: Int, by mask: UInt8) throws {
        let file = try FileHandle(forUpdating: URL(filePath: path(name)))
        try file.seek(toOffset: UInt64(offset))
        let byte = try #require(try file.read(upToCount: 1)?.first)
        try file.seek(toOffset: UInt64(offset))
        try file.write(contentsOf: [byte ^ mask])
        try file.close()
    }

    func remove(_ name: String) throws {
        try FileManager.default.removeItem(atPath: path(name))
    }

    func move(_ name: String, to other: String) throws {
        if directory.exists(other) { try remove(other) }
        try FileManager.default.moveItem(atPath: path(name), toPath: path(other))
    }

    func copy(_ name: String, to other: String) throws {
        if directory.exists(other) { try remove(other) }
        try FileManager.default.copyItem(atPath: path(name), toPath: path(other))
    }
}

/// A disk with a full backup and two increments, whose disk a guest wrote to in between.
struct VerifyChain {
    static let canBeMade = Program.qemuIO.isInstalled
    static let needs: Comment = "needs qemu-io"
    static let length: UInt64 = 3 << 20

    let bench = try! VerifyBench()

    init(parentFormat: ImageFormat = .qcow2) async throws {
        try await bench.directory.makeImage("disk.qcow2", length: Self.length)
        try await write("write -P 1 0 64k", "write -P 2 1M 200k", "write -P 3 2900k 50k")
        try await bench.backUp("disk.qcow2", to: "0") {
            ($0.bitmap, $0.createsBitmap) = ("b", true)
            $0.targetFormat = parentFormat
        }
        try await write("write -P 4 64k 10k", "write -z 1M 64k")
        try await increment("1", on: "0", parentFormat)
        try await write("write -P 5 2M 64k", "write -P 6 1100k 4k")
        try await increment("2", on: "1", .qcow2)
    }

    func write(_ commands: String...) async throws {
        try await Program.qemuIO.runSuccessfully(
            commands.flatMap { ["-c", $0] } + [bench.path("disk.qcow2")])
    }

    func increment(_ name: String, on parent: String, _ format: ImageFormat) async throws {
        try await bench.backUp("disk.qcow2", to: name) {
            ($0.sync, $0.bitmap, $0.parent) = (.incremental, "b", bench.path(parent))
            $0.parentFormat = format
        }
    }
}
