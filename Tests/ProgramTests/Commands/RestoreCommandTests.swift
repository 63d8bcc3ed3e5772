// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import BackupCore
import BackupService
import DiskChain
import Qcow2Format
import Testing

@testable import qcowbackup

/// Which request a command line of `restore` stands for.
@Suite struct RestoreCommandTests {
    struct Case: CustomTestStringConvertible, Sendable {
        var line: String
        var expected: RestoreRequest

        init(_ line: String, source: String = "a", _ change: (inout RestoreRequest) -> Void = { _ in }) {
            self.line = line
            expected = RestoreRequest(source: source, target: "b")
            change(&expected)
        }

        var testDescription: String { line }
    }

    private static let cases = [
        Case("a b"),
        Case("--chain moved a b") { $0.chainFolder = "moved" },
        Case("a b --chain=moved") { $0.chainFolder = "moved" },
        Case("--no-verify a b") { $0.verifies = false },
        Case("--verify a b"),
        Case("-f raw a b") { $0.copy.sourceFormat = .raw },
        Case("-F raw a b") { $0.copy.backingFormat = .raw },
        Case("-O raw a b") { $0.targetFormat = .raw },
        Case("-Oqcow2 a b") { $0.targetFormat = .qcow2 },
        Case("-ocluster_size=64k -o extended_l2=on a b") {
            $0.copy.targetOptions = ["cluster_size=64k", "extended_l2=on"]
        },
        Case("-c a b") { $0.copy.compression = CompressionSettings(type: .zlib) },
        Case("--compression-type=zstd --compression-level=3 a b") {
            $0.copy.compression = CompressionSettings(type: .zstd, level: 3)
        },
        Case("-n a b") { $0.copy.existingTarget = .reuse },
        Case("--force a b") { $0.copy.existingTarget = .replace },
        Case("--keep-partial a b") { $0.copy.keepPartial = true },
        Case("--copy-range=off --max-workers=2 --speed=1M a b") {
            $0.copy.copyRange = .off
            $0.copy.workers = 2
            $0.copy.speed = 1 << 20
        },
        Case("--on-source-error=ignore --on-target-error=stop a b") {
            $0.copy.onSourceError = .ignore
            $0.copy.onTargetError = .stop
        },
        Case("-- restore b", source: "restore"),
        Case("restore b", source: "restore"),
    ]

    @Test(arguments: cases)
    func request(of testCase: Case) throws {
        let arguments = Program.separated(["restore"] + testCase.line.split(separator: " ").map(String.init))
        let command = try #require(try QcowBackupCommand.parseAsRoot(arguments) as? RestoreCommand)
        // Every property, also those that are added later.
        #expect(Self.dumped(try command.request()) == Self.dumped(testCase.expected))
    }

    private static func dumped(_ request: RestoreRequest) -> String {
        var text = ""
        dump(request, to: &text)
        return text
    }
}
