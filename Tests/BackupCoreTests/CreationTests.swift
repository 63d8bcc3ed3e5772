// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage
import Testing

@testable import BackupCore

/// What is checked before a job exists, in which order, and the size of its clusters.
@Suite struct CreationTests {
    static let length = 1 << 20

    static func disk(
        _ name: String, length: Int = length, backing: Bool = false, compresses: Bool = true,
        clusterSize: Result<UInt64, BlockError> = .success(65536)
    ) -> TestDisk {
        TestDisk(
            name: name, bytes: [UInt8](repeating: 1, count: length),
            capabilities: DeviceCapabilities(
                isReadOnly: false, hasBackingFile: backing, canWriteCompressed: compresses),
            clusterSize: clusterSize)
    }

    static let ioError = BlockError.system(SystemCallError(call: "ioctl", errno: .ioError, path: "target"))
    static let unsupported = BlockError.unsupported(operation: "cluster size", device: "target")

    // MARK: Cluster size

    struct SizeRow: Sendable, CustomTestStringConvertible {
        var answer: Result<UInt64, BlockError>
        var backing: Bool
        /// `nil` where the job is refused.
        var size: UInt64?
        var warns = false
        var testDescription: String { "\(answer), backing \(backing)" }
    }

    static let sizeRows =
        [false, true].flatMap { backing in
            [
                SizeRow(answer: .success(0), backing: backing, size: 65536),
                SizeRow(answer: .success(512), backing: backing, size: 65536),
                SizeRow(answer: .success(65536), backing: backing, size: 65536),
                SizeRow(answer: .success(131_072), backing: backing, size: 131_072),
                SizeRow(answer: .success(2 << 20), backing: backing, size: 2 << 20),
                SizeRow(answer: .success(32 << 20), backing: backing, size: 32 << 20),
                // Numbers of a hostile peer.
                SizeRow(answer: .success(64 << 20), backing: backing, size: nil),
                SizeRow(answer: .success(100_000), backing: backing, size: nil),
                SizeRow(answer: .success(.max), backing: backing, size: nil),
            ]
        } + [
            SizeRow(answer: .failure(ioError), backing: true, size: 65536),
            SizeRow(answer: .failure(unsupported), backing: true, size: 65536),
            SizeRow(answer: .failure(unsupported), backing: false, size: 65536, warns: true),
            SizeRow(answer: .failure(ioError), backing: false, size: nil),
        ]

    @Test(arguments: sizeRows)
    func clusterSize(_ row: SizeRow) async throws {
        let target = Self.disk("target", backing: row.backing, clusterSize: row.answer)
        do {
            let job = try await BackupJob(source: Self.disk("source"), target: target, configuration: .init())
            #expect(job.clusterSize == row.size)
            #expect(job.warnings.count == (row.warns ? 1 : 0))
            if row.warns { #expect(job.warnings[0].contains("65536")) }
        } catch {
            #expect(row.size == nil, "\(error)")
            switch (error, row.answer) {
            case (.clusterSizeUnknown, .failure):
                let message = "cannot determine the target's cluster size and it has no backing file"
                #expect(error.errno == .ioError && error.description.contains(message))
            case (.clusterSizeUnusable(_, let size), .success(let answer)): #expect(size == answer)
            default: Issue.record("\(error)")
            }
        }
    }

    // MARK: Checks

    @Test func sourceAndTargetMustDiffer() async {
        let disk = Self.disk("disk", compresses: false)
        await #expect(throws: JobError.self, "Source and target must be different nodes") {
            try await BackupJob(source: disk, target: disk, configuration: .init(compress: true))
        }
    }

    struct CheckRow: Sendable, CustomTestStringConvertible {
        var message: String
        var sameNode = false
        var compresses = true
        var targetLength = length
        var configuration = BackupJob.Configuration()
        var clusterSize: Result<UInt64, BlockError> = .success(65536)
        var testDescription: String { message }
    }

    /// Each row breaks its own rule and, where that can be, all the later ones: the first one wins.
    static let checkRows = [
        CheckRow(
            message: "Source and target must be different nodes", sameNode: true, compresses: false,
            configuration: .init(compress: true), clusterSize: .failure(ioError)),
        CheckRow(
            message: "Target target does not support compressed writes", compresses: false, targetLength: 512,
            configuration: .init(compress: true), clusterSize: .failure(ioError)),
        CheckRow(
            message: "Source and target have different lengths: 1048576 and 1048577 bytes", targetLength: length + 1,
            clusterSize: .failure(ioError)),
        CheckRow(
            message: "Source and target have different lengths: 1048576 and 512 bytes", targetLength: 512,
            clusterSize: .failure(ioError)),
        CheckRow(
            message: "max-chunk must be 0 or at least the cluster size of 131072 bytes, not 65536",
            configuration: .init(maxChunk: 65536), clusterSize: .success(131_072)),
        CheckRow(
            message: "max-workers must be at least 1, not 0", targetLength: 512,
            configuration: .init(maxWorkers: 0), clusterSize: .failure(ioError)),
        CheckRow(
            message: "Sync mode 'none' copies what a guest is about to overwrite, and no guest writes to source",
            compresses: false, configuration: .init(sync: .none, compress: true)),
    ]

    @Test(arguments: checkRows)
    func refuses(_ row: CheckRow) async {
        let source = Self.disk("source", compresses: row.compresses)
        let target =
            row.sameNode
            ? source
            : Self.disk(
                "target", length: row.targetLength, compresses: row.compresses, clusterSize: row.clusterSize)
        do {
            _ = try await BackupJob(source: source, target: target, configuration: row.configuration)
            Issue.record("a job was made")
        } catch {
            #expect(error.description == row.message)
        }
        #expect(target.calls.isEmpty, "a refused job changes nothing")
    }

    @Test func syncModesAreQMPs() {
        #expect(SyncMode.allCases.map(\.rawValue) == ["full", "top", "none", "incremental", "bitmap"])
    }
}
