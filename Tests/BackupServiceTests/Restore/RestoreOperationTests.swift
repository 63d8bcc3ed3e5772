// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore
import BackupService
import BlockIO
import DiskChain
import Foundation
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

/// What a restore makes of a request.
@Suite struct RestoreOperationTests {
    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
    }

    private func restore(
        _ source: String, to target: String, _ change: (inout RestoreRequest) -> Void = { _ in }
    ) async throws -> (summary: BackupSummary, warnings: [String]) {
        var request = RestoreRequest(source: source, target: directory.file(target).string)
        change(&request)
        let warnings = Locked<[String]>([])
        let operation = BackupOperation(restoring: request) { line in warnings.withLock { $0.append(line) } }
        let summary = try await operation.run()
        return (summary, warnings.withLock { $0 })
    }

    @Test func theWholeChain() async throws {
        let base = try await directory.makeImage("base.qcow2", length: 1 << 20)
        let top = try await directory.makeOverlay("top.qcow2", over: "base.qcow2", length: 1 << 20)
        let result = try await restore(top, to: "disk.qcow2") { $0.copy.sync = .top }
        #expect(result.warnings.isEmpty)
        #expect(result.summary.virtualSize == 1 << 20)
        let disk = try await DiskOpener().open(directory.file("disk.qcow2").string)
        #expect(disk.layers.count == 1)
        #expect(disk.layers[0].format == .qcow2)
        #expect(base != top)
    }

    @Test(arguments: [UInt64(1) << 19, 1 << 21])
    func anotherLength(length: UInt64) async throws {
        try await directory.makeImage("base.qcow2", length: length)
        let top = try await directory.makeOverlay("top.qcow2", over: "base.qcow2", length: 1 << 20)
        let result = try await restore(top, to: "disk.qcow2")
        #expect(result.warnings.count == 1)
        #expect(result.warnings.first?.contains("base.qcow2 is a disk of \(length) bytes") == true)
    }

    @Test func whatIsNoImageIsNotTakenForARawDisk() async throws {
        let blank = try directory.write([UInt8](repeating: 0, count: 4096), to: "blank").string
        let error = try await refusal { _ = try await restore(blank, to: "disk") }
        #expect(error.code == .corrupt)
        #expect(error.advice?.contains("unfinished") == true)
        #expect(try await restore(blank, to: "disk") { $0.copy.sourceFormat = .raw }.summary.virtualSize == 4096)
    }

    /// A raw disk may look like anything. Its manifest says what it is.
    @Test func rawByItsManifest() async throws {
        var content = [UInt8](repeating: 7, count: 8192)
        content.replaceSubrange(0..<6, with: [0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe])
        let disk = try directory.write(content, to: "luks").string
        var request = BackupRequest(source: disk, target: directory.file("b").string)
        (request.sourceFormat, request.targetFormat) = (.raw, .raw)
        _ = try await BackupOperation(request) { _ in }.run()
        let result = try await restore(directory.file("b").string, to: "restored") { $0.targetFormat = .raw }
        #expect(result.summary.proof == .all)
        #expect(try directory.read("restored") == content)
    }

    /// Nothing takes another format than what it replaces without being asked to; what is empty has none.
    @Test(arguments: [0, 3, 4096])
    func formatOfWhatIsReplaced(count: Int) async throws {
        let top = try await directory.makeImage("top.qcow2", length: 1 << 20)
        let old = [UInt8](repeating: 7, count: count)
        try directory.write(old, to: "disk")
        guard count > 0 else {
            _ = try await restore(top, to: "disk") { $0.copy.existingTarget = .replace }
            return #expect(try directory.read("disk").prefix(3) == [0x51, 0x46, 0x49])
        }
        let error = try await refusal { _ = try await restore(top, to: "disk") { $0.copy.existingTarget = .replace } }
        #expect(error.code == .usage)
        #expect(try directory.read("disk") == old)
        for format in ImageFormat.allCases {
            _ = try await restore(top, to: "disk") {
                $0.copy.existingTarget = .replace
                $0.targetFormat = format
            }
            #expect(try (directory.read("disk").prefix(3) == [0x51, 0x46, 0x49]) == (format == .qcow2))
        }
    }

    @Test func folderOfTheChain() async throws {
        let top = try await directory.makeOverlay("top.qcow2", over: "base.qcow2", length: 1 << 20)
        let moved = directory.file("moved").string
        let absent = try await refusal { _ = try await restore(top, to: "disk") { $0.chainFolder = moved } }
        #expect(absent.code == .notFound)
        try FileManager.default.createDirectory(atPath: moved, withIntermediateDirectories: false)
        let empty = try await refusal { _ = try await restore(top, to: "disk") { $0.chainFolder = moved } }
        #expect(empty.code == .notFound)
        #expect(empty.advice == "put it into \(moved)")
        try await directory.makeImage("moved/base.qcow2", length: 1 << 20)
        _ = try await restore(top, to: "disk") { $0.chainFolder = moved }
        let file = try await refusal { _ = try await restore(top, to: "disk2") { $0.chainFolder = top } }
        #expect(file.code == .usage)
    }
}
