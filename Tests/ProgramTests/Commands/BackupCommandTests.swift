// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import BackupCore
import BackupManifest
import BackupService
import DiskChain
import Qcow2Format
import Testing

@testable import qcowbackup

/// Which request a command line stands for.
@Suite struct BackupCommandTests {
    struct Case: CustomTestStringConvertible, Sendable {
        var line: String
        var expected: BackupRequest

        init(
            _ line: String, source: String = "a", target: String = "b",
            _ change: (inout BackupRequest) -> Void = { _ in }
        ) {
            self.line = line
            expected = BackupRequest(source: source, target: target)
            change(&expected)
        }

        var testDescription: String { line }
    }

    private static let cases = [
        Case("a b"),
        Case("backup a b"),
        Case("--sync=full a b"),
        Case("--sync=top a b") { $0.sync = .top },
        Case("a --sync top b") { $0.sync = .top },
        Case("backup a b --sync top") { $0.sync = .top },
        Case("--digest=xxh3 a b"),
        Case("--digest sha256 --manifest=m a b") { ($0.digest, $0.manifest) = (.sha256, "m") },
        Case("--digest=none a b") { $0.digest = nil },
        Case("-f qcow2 a b") { $0.sourceFormat = .qcow2 },
        Case("-fraw a b") { $0.sourceFormat = .raw },
        Case("-f=raw a b") { $0.sourceFormat = .raw },
        Case("-F raw a b") { $0.backingFormat = .raw },
        Case("-O raw a b") { $0.targetFormat = .raw },
        Case("-Oqcow2 a b"),
        Case("-f raw -F qcow2 -O raw a b") {
            $0.sourceFormat = .raw
            $0.backingFormat = .qcow2
            $0.targetFormat = .raw
        },
        Case("-o cluster_size=64k a b") { $0.targetOptions = ["cluster_size=64k"] },
        Case("-ocluster_size=64k a b") { $0.targetOptions = ["cluster_size=64k"] },
        Case("-o a=1,b=2 -o c=3 a b -o d") { $0.targetOptions = ["a=1", "b=2", "c=3", "d"] },
        Case("-o data_file=x,,y,extended_l2=on a b") { $0.targetOptions = ["data_file=x,y", "extended_l2=on"] },
        Case("-c a b") { $0.compression = CompressionSettings(type: .zlib) },
        Case("--compress a b") { $0.compression = CompressionSettings(type: .zlib) },
        Case("--compression-type=zstd a b") { $0.compression = CompressionSettings(type: .zstd) },
        Case("--compression-type=zlib a b") { $0.compression = CompressionSettings(type: .zlib) },
        Case("-c --compression-type zstd --compression-level 3 a b") {
            $0.compression = CompressionSettings(type: .zstd, level: 3)
        },
        Case("--compression-level=9 a b") { $0.compression = CompressionSettings(type: .zlib, level: 9) },
        Case("--compression-level=fast a b") { $0.compression = CompressionSettings(type: .zlib, level: 1) },
        Case("--compression-level best a b") { $0.compression = CompressionSettings(type: .zlib, level: 9) },
        Case("--compression-type=zstd --compression-level=best a b") {
            $0.compression = CompressionSettings(type: .zstd, level: 19)
        },
        Case("-o compression_type=zstd --compression-level=19 a b") {
            $0.compression = CompressionSettings(type: .zstd, level: 19)
            $0.targetOptions = ["compression_type=zstd"]
        },
        Case("-c -o compression_type=zstd a b") {
            $0.compression = CompressionSettings(type: .zstd)
            $0.targetOptions = ["compression_type=zstd"]
        },
        Case("-c -o compression_type=zstd,compression_type=zlib a b") {
            $0.compression = CompressionSettings(type: .zlib)
            $0.targetOptions = ["compression_type=zstd", "compression_type=zlib"]
        },
        Case("-o compression_type=zstd a b") { $0.targetOptions = ["compression_type=zstd"] },
        Case("--snapshot before a b") { $0.snapshot = "before" },
        Case("-U a b") { $0.forceShare = true },
        Case("--force-share a b") { $0.forceShare = true },
        Case("-n a b") { $0.existingTarget = .reuse },
        Case("--force a b") { $0.existingTarget = .replace },
        Case("--keep-partial a b") { $0.keepPartial = true },
        Case("-p -q --progress=auto --output=json a b"),
        Case("-cpU a b") {
            $0.compression = CompressionSettings(type: .zlib)
            $0.forceShare = true
        },
        Case("-cn -f qcow2 a b") {
            $0.compression = CompressionSettings(type: .zlib)
            $0.existingTarget = .reuse
            $0.sourceFormat = .qcow2
        },
        Case("--copy-range=off a b") { $0.copyRange = .off },
        Case("--copy-range on a b") { $0.copyRange = .on },
        Case("--max-workers 1 a b") { $0.workers = 1 },
        Case("--max-workers=64 a b") { $0.workers = 64 },
        Case("--speed=100M a b") { $0.speed = 100 << 20 },
        Case("--speed 1.5k a b") { $0.speed = 1536 },
        Case("--speed=0 a b"),
        Case("--on-source-error=ignore --on-target-error stop a b") {
            $0.onSourceError = .ignore
            $0.onTargetError = .stop
        },
        Case("--on-source-error=report --on-target-error=enospc a b") { $0.onTargetError = .enospc },
        Case("-- -a -b", source: "-a", target: "-b"),
        Case("-- -oa=b -oc=d", source: "-oa=b", target: "-oc=d"),
        Case("backup -- backup help", source: "backup", target: "help"),
        Case("-q -- a b"),
        Case("./nbd://x b", source: "./nbd://x"),
        Case("Größe.qcow2 字", source: "Größe.qcow2", target: "字"),
    ]

    @Test(arguments: cases)
    func request(of testCase: Case) throws {
        let arguments = Program.separated(testCase.line.split(separator: " ").map(String.init))
        let command = try #require(try QcowBackupCommand.parseAsRoot(arguments) as? BackupCommand)
        let request = try command.request()
        // Every property, also those that are added later.
        #expect(Self.dumped(request) == Self.dumped(testCase.expected))
    }

    private static func dumped(_ request: BackupRequest) -> String {
        var text = ""
        dump(request, to: &text)
        return text
    }

    @Test(arguments: [
        ("", false, ProgressDisplay.Mode.none), ("", true, .bar), ("-p", false, .bar), ("-p", true, .bar),
        ("-q", true, .none),
        ("-q -p", true, .none), ("--progress=none", true, .none), ("--progress=bar", false, .bar),
        ("--progress=json", true, .json), ("--progress=auto", true, .bar), ("--progress=auto", false, .none),
        ("-p --progress=auto", false, .bar), ("-p --progress=bar", false, .bar), ("-q --progress=json", true, .json),
        ("-q --progress=bar", false, .bar), ("--output=json", true, .bar), ("--output=json", false, .none),
    ])
    func progressMode(options: String, isTerminal: Bool, mode: ProgressDisplay.Mode) throws {
        let command = try BackupCommand.parse(options.split(separator: " ").map(String.init) + ["a", "b"])
        #expect(command.output.progressMode(isTerminal: isTerminal) == mode)
    }

    @Test(arguments: [
        ("-oa=b", ["-o", "a=b"]), ("-o", ["-o"]), ("-o=a=b", ["-o", "=a=b"]), ("-oa", ["-oa"]),
        ("--output=json", ["--output=json"]),
        ("-f=raw", ["-f=raw"]), ("o=a", ["o=a"]), ("-o=a", ["-o=a"]),
    ])
    func joinedTargetOptions(argument: String, separated: [String]) {
        #expect(Program.separated([argument, "--", argument]) == separated + ["--", argument])
    }

    @Test(arguments: [
        ("a=b", ["a=b"]), ("a=b,c", ["a=b", "c"]), ("a=,,", ["a=,"]), ("a=b,,,c=d", ["a=b,", "c=d"]), ("a==", ["a=="]),
        (",,a", [",a"]), ("a=\r\n,b", ["a=\r\n", "b"]),
        ("", nil), (",", nil), ("a=b,", nil), (",a=b", nil), ("a=b,,,", nil), ("=b", nil), ("a,=b", nil),
    ])
    func targetOptionList(text: String, options: [String]?) {
        #expect(TargetOptionList(argument: text)?.options == options)
    }
}
