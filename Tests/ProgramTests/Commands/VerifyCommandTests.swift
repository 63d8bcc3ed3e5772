// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import BackupService
import DiskChain
import Foundation
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

@testable import qcowbackup

/// `verify` from the command line to the last byte that is printed, and its exit code.
@Suite struct VerifyCommandTests {
    struct Case: CustomTestStringConvertible, Sendable {
        var line: String
        var expected: VerifyRequest

        init(_ line: String, _ backups: [String] = ["a"], _ change: (inout VerifyRequest) -> Void = { _ in }) {
            self.line = line
            expected = VerifyRequest(backups: backups)
            change(&expected)
        }

        var testDescription: String { line }
    }

    private static let cases = [
        Case("a"),
        Case("a b c", ["a", "b", "c"]),
        Case("--structure a") { $0.extent = .nothing },
        Case("--sample=5% a") { $0.extent = .sample(0.05) },
        Case("--sample 50 a") { $0.extent = .sample(0.5) },
        Case("--max-duration=10m a") { $0.duration = .seconds(600) },
        Case("a --sample=1% --max-duration 90") { ($0.extent, $0.duration) = (.sample(0.01), .seconds(90)) },
        Case("--against=d --manifest m a") { ($0.source, $0.manifest) = ("d", "m") },
        Case("--chain=c -f raw -F qcow2 a") {
            ($0.chainFolder, $0.format, $0.backingFormat) = ("c", .raw, .qcow2)
        },
        Case("-U -j 4 a") { ($0.forceShare, $0.workers) = (true, 4) },
        Case("-j1 a") { $0.workers = 1 },
        Case("--force-share --max-workers=2 --json -q a") { ($0.forceShare, $0.workers) = (true, 2) },
        Case("-- verify", ["verify"]),
    ]

    @Test(arguments: cases) func request(of testCase: Case) throws {
        let arguments = Program.separated(["verify"] + testCase.line.split(separator: " ").map(String.init))
        let command = try #require(try QcowBackupCommand.parseAsRoot(arguments) as? VerifyCommand)
        func dumped(_ request: VerifyRequest) -> String {
            var text = ""
            dump(request, to: &text)
            return text
        }
        #expect(dumped(try command.request()) == dumped(testCase.expected))
    }

    @Test(
        arguments: [
            ("5%", 0.05), ("5", 0.05), ("0.5%", 0.005), ("99.9%", 0.999), (".5", 0.005), ("100%", nil), ("100", nil),
            ("0", nil), ("0%", nil), ("0.0", nil), ("-5%", nil), ("+5", nil), ("5%%", nil), ("%", nil), ("", nil),
            (".", nil),
            ("1.2.3", nil), ("1e1", nil), ("nan", nil), ("inf%", nil), ("0x5", nil), (" 5", nil), ("5 %", nil),
            ("٥", nil),
            ("1000000000000000000000000000000", nil), ("5,5%", nil),
        ] as [(String, Double?)])
    func shares(text: String, fraction: Double?) {
        let found = Share(parsing: text)?.fraction
        #expect((found == nil) == (fraction == nil))
        if let found, let fraction { #expect(abs(found - fraction) < 1e-12) }
    }

    @Test(
        arguments: [
            ("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86400), ("366d", 366 * 86400), ("007s", 7),
            ("367d", nil), ("31622401", nil), ("0", nil), ("0h", nil), ("-1", nil), ("+1", nil), ("", nil), ("s", nil),
            ("1.5h", nil), ("1w", nil), ("1ms", nil), ("1 h", nil), ("1S", nil), ("9223372036854775807", nil),
            ("99999999999999999999d", nil), ("9223372036854775807d", nil), ("٣s", nil), ("1h30m", nil),
        ] as [(String, Int?)])
    func timeSpans(text: String, seconds: Int?) {
        #expect(TimeSpan(parsing: text)?.duration == seconds.map { .seconds($0) })
    }

    // MARK: Runs

    private static func run(_ arguments: [String]) async throws -> (status: Int32, output: String, errors: String) {
        let (output, errors) = (try Pipe(), try Pipe())
        let status = await onThread {
            let console = Console(output: output.writer, errors: errors.writer)
            let environment = ProgramEnvironment(
                console: console,
                makeBackup: { request, warn in RunningBackup(request, warn: warn) },
                makeRestore: { request, warn in RunningBackup(restoring: request, warn: warn) },
                abandon: { _ in })
            return Program.run(arguments, in: environment).code
        }
        return (status, output.closeAndRead(), errors.closeAndRead())
    }

    /// A folder with a disk of 3 MiB and a raw backup `b` of it.
    private static func makeBackup(_ directory: TemporaryDirectory) async throws -> String {
        try directory.write([UInt8](repeating: 7, count: 3 << 20), to: "disk")
        let made = try await run([
            "-q", "-f", "raw", "-O", "raw", directory.file("disk").string, directory.file("b").string,
        ])
        try #require(made.status == 0, "\(made.errors)")
        return directory.file("b").string
    }

    @Test func proven() async throws {
        let directory = try TemporaryDirectory()
        let backup = try await Self.makeBackup(directory)
        let run = try await Self.run(["verify", backup])
        #expect(run.status == 0 && run.errors.isEmpty)
        let lines = run.output.split(separator: "\n")
        #expect(lines.count == 2)
        #expect(lines[0] == "\(backup): 3 MiB checked, as written")
        #expect(lines[1].hasPrefix("\(backup): PROVEN ("))
        #expect(try await Self.run(["verify", "-q", backup]).output.isEmpty)
        let structure = try await Self.run(["verify", "--structure", backup])
        #expect(structure.status == 0)
        #expect(structure.output.contains("raw: no structure to check"))

        let json = try await Self.run(["verify", "--json", backup])
        let object = try Self.object(json.output)
        #expect(json.status == 0 && object["verdict"] as? String == "proven")
        let one = try #require((object["backups"] as? [[String: Any]])?.first)
        let layer = try #require((one["layers"] as? [[String: Any]])?.first)
        #expect(one["backup"] as? String == backup && layer["file"] as? String == backup)
        #expect(layer["checked-ranges"] as? Int == 3 && layer["ranges"] as? Int == 3)
        #expect(layer["complete"] as? Bool == true && (layer["content"] as? String)?.count == 32)
        #expect(layer["manifest"] as? String == backup + ".manifest")
        #expect((layer["bad"] as? [Any])?.isEmpty == true)
    }

    @Test func bad() async throws {
        let directory = try TemporaryDirectory()
        let backup = try await Self.makeBackup(directory)
        var bytes = try directory.read("b")
        bytes[1 << 20] = 8
        try directory.write(bytes, to: "b")
        for quiet in [[], ["-q"]] {
            let run = try await Self.run(["verify"] + quiet + [backup])
            #expect(run.status == 6)
            #expect(run.output.contains("3 MiB checked, NOT as written in 1 MiB of the disk"))
            #expect(run.output.contains("  bytes 1048576 to 2097151 of the disk are not what was written\n"))
            #expect(run.output.contains("\(backup): BAD ("))
        }
        let object = try Self.object(try await Self.run(["verify", "--output=json", backup]).output)
        #expect(object["verdict"] as? String == "bad")
        let layers = (object["backups"] as? [[String: Any]])?.first?["layers"] as? [[String: Any]]
        let range = try #require((layers?.first?["bad"] as? [[String: Any]])?.first)
        #expect(range["start"] as? Int == 1 << 20 && range["length"] as? Int == 1 << 20)
        #expect(range["reason"] as? String == "differs")
        // And a restore of it ends, unless it isn't proven.
        let target = directory.file("r").string
        let refused = try await Self.run(["restore", "-q", "-f", "raw", "-O", "raw", backup, target])
        #expect(refused.status == 1)
        #expect(refused.errors.contains("not what was written"))
        #expect(!directory.exists("r"))
        let forced = try await Self.run(["restore", "-q", "--no-verify", "-f", "raw", "-O", "raw", backup, target])
        #expect(forced.status == 0)
        #expect(haveSameBytes(try directory.read("r"), bytes))
    }

    @Test func unproven() async throws {
        let directory = try TemporaryDirectory()
        let backup = try await Self.makeBackup(directory)
        try FileManager.default.removeItem(atPath: backup + ".manifest")
        let run = try await Self.run(["verify", backup])
        #expect(run.status == 1)
        #expect(run.output.contains("\(backup): no manifest, so its content can't be proven"))
        #expect(run.output.contains("NOT PROVEN"))
        let object = try Self.object(try await Self.run(["verify", "--json", backup]).output)
        #expect(object["verdict"] as? String == "unproven")
        let layers = (object["backups"] as? [[String: Any]])?.first?["layers"] as? [[String: Any]]
        #expect(layers?.first?["manifest-problem"] as? String == "missing")
        let absent = try await Self.run(["verify", directory.file("nothing").string])
        #expect(absent.status == 1 && absent.output.isEmpty && !absent.errors.isEmpty)
    }

    /// The worst of all backups decides.
    @Test func several() async throws {
        let directory = try TemporaryDirectory()
        let backup = try await Self.makeBackup(directory)
        let disk = directory.file("disk").string
        #expect(try await Self.run(["verify", "-f", "raw", backup, disk]).status == 1)
        let same = try await Self.run(["verify", "--against", disk, backup])
        #expect(same.status == 0 && same.output.contains("  the disk reads as the backup does\n"))
        try directory.write([UInt8](repeating: 7, count: (3 << 20) - 512), to: "disk")
        let changed = try await Self.run(["verify", "-q", "--against", disk, backup])
        #expect(changed.status == 7)
        #expect(changed.output.contains("  the disk differs from the backup at offset 3145216\n"))
        #expect(changed.output.contains("\(backup): PROVEN, but the disk DIFFERS ("))
        let object = try Self.object(try await Self.run(["verify", "--json", "--against", disk, backup]).output)
        #expect(object["verdict"] as? String == "different")
        let one = (object["backups"] as? [[String: Any]])?.first?["comparison"] as? [String: Any]
        #expect(one?["first-difference"] as? Int == 3_145_216 && one?["length"] as? Int == 3 << 20)
    }

    private static func object(_ text: String) throws -> [String: Any] {
        #expect(text.hasSuffix("\n") && text.count { $0 == "\n" } == 1)
        return try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    }
}
