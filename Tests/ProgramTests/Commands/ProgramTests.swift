// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore
import BackupService
import Foundation
import TestSupport
import Testing

@testable import qcowbackup

/// What the program prints, and where, and its exit code: from the command line to the last byte.
@Suite struct ProgramTests {
    struct Run: Sendable {
        var status: Int32
        var output: String
        var errors: String
    }

    /// Runs a command line whose backup, if it comes to one, ends as given.
    private static func run(
        _ arguments: [String],
        ending result: Result<BackupSummary, ServiceError> = .failure(ServiceError(.io, "not reached")),
        warnings: [String] = [], outputCapacity: Int32? = nil
    ) async throws -> Run {
        let output = try Pipe(capacity: outputCapacity)
        let errors = try Pipe()
        let status = await onThread {
            let console = Console(output: output.writer, errors: errors.writer)
            let make = { @Sendable (warn: @escaping @Sendable (String) -> Void) in
                RunningBackup(
                    progress: { BackupProgress(offset: 10, length: 10) }, cancel: {}, togglePause: { nil },
                    run: { () async throws(ServiceError) -> BackupSummary in
                        for warning in warnings { warn(warning) }
                        return try result.get()
                    })
            }
            let environment = ProgramEnvironment(
                console: console, makeBackup: { _, warn in make(warn) }, makeRestore: { _, warn in make(warn) },
                abandon: { _ in })
            return Program.run(arguments, in: environment).code
        }
        return Run(status: status, output: output.closeAndRead(), errors: errors.closeAndRead())
    }

    private static func words(_ line: String) -> [String] {
        line.split(separator: " ").map { $0 == "''" ? "" : String($0) }
    }

    private static let summary = BackupSummary(
        target: "b", virtualSize: 2048, bytesRead: 2048, bytesWritten: 1024, bytesZero: 1024, bytesSkipped: 0,
        targetLength: 512, seconds: 1)

    @Test(arguments: [
        ("", "Missing expected argument '<SOURCE>'"),
        ("backup", "Missing expected argument '<SOURCE>'"),
        ("a", "Missing expected argument '<TARGET>'"),
        ("a b c", "Unexpected argument 'c'"),
        ("--nonsense a b", "Unknown option '--nonsense'"),
        ("-x a b", "Unknown option '-x'"),
        ("-f vmdk a b", "The value 'vmdk' is invalid for '-f <format>'. Please provide one of 'raw' and 'qcow2'."),
        ("a b -f", "Missing value for '-f'"),
        ("--sync=none a b", "--sync=none copies what a guest overwrites, and offline there is none: use full or top"),
        ("--sync=incremental --bitmap x -b '' a b", "PARENT is empty"),
        ("--sync=incremental --bitmap x -b nbd://host/x a b", "PARENT: nbd:... is not available in this version"),
        ("--granularity=63k --bitmap x a b", "The value '63k' is invalid for '--granularity <size>'"),
        (
            "--sync=all a b",
            """
            The value 'all' is invalid for '--sync <mode>'. Please provide one of 'full', 'top', 'incremental' or \
            'bitmap'.
            """
        ),
        ("-n --force a b", "-n writes into TARGET and --force replaces it: give one of them"),
        ("-p --progress=json a b", "-p asks for a bar and --progress=json does not: give one of them"),
        ("-p --progress=none a b", "-p asks for a bar and --progress=none does not: give one of them"),
        ("--max-workers=0 a b", "--max-workers is a number from 1 to 64, not 0"),
        ("--max-workers=-1 a b", "--max-workers is a number from 1 to 64, not -1"),
        ("--max-workers=65 a b", "--max-workers is a number from 1 to 64, not 65"),
        (
            "--max-workers=99999999999999999999 a b",
            "The value '99999999999999999999' is invalid for '--max-workers <number>'"
        ),
        ("--max-workers=two a b", "The value 'two' is invalid for '--max-workers <number>'"),
        ("-o a=1, a b", "The value 'a=1,' is invalid for '-o <options>'"),
        (
            "--compression-type=zlib -o compression_type=zstd a b",
            "--compression-type=zlib contradicts -o compression_type=zstd: give one of them"
        ),
        (
            "--compression-level=10 a b",
            "unknown compression level '10' for zlib: use 1-9 or one of default, fast, balanced, best"
        ),
        ("--compression-level= a b", "Missing expected argument '<TARGET>'"),
        (
            "--compression-type=zstd --compression-level=-1 a b",
            "unknown compression level '-1' for zstd: use 1-19 or one of default, fast, balanced, best"
        ),
        (
            "--compression-level=99999999999999999999 a b",
            "unknown compression level '99999999999999999999' for zlib: use 1-9 or one of default, fast, balanced, best"
        ),
        ("--snapshot '' a b", "--snapshot takes a name or an id"),
        ("'' b", "SOURCE is empty"),
        ("a ''", "TARGET is empty"),
        ("nbd://host/x b", "SOURCE: nbd:... is not available in this version"),
        ("a nbd+unix:///x?socket=y", "TARGET: nbd+... is not available in this version"),
        ("nbds://host/x b", "SOURCE: nbds:... is not available in this version"),
        ("json:{} b", "SOURCE: json:... is not available in this version"),
        ("driver=qcow2,file.filename=a b", "SOURCE: driver=... is not available in this version"),
        ("restore", "Missing expected argument '<BACKUP>'"),
        ("restore a", "Missing expected argument '<TARGET>'"),
        ("restore '' b", "BACKUP is empty"),
        ("restore a ''", "TARGET is empty"),
        ("restore nbd://host/x b", "BACKUP: nbd:... is not available in this version"),
        ("bitmap list ''", "IMAGE is empty"),
        ("bitmap add nbd://host/x b0", "IMAGE: nbd:... is not available in this version"),
        ("bitmap merge a b0 b1 -b ''", "-b is empty"),
        ("bitmap merge a b0 b1 -b json:{}", "-b: json:... is not available in this version"),
        ("info nbd://host/x", "IMAGE: nbd:... is not available in this version"),
        ("map ''", "IMAGE is empty"),
        ("list ''", "DIR is empty"),
        ("list", "Missing expected argument '<DIR>'"),
        ("compare a nbd://host/x", "B: nbd:... is not available in this version"),
        ("verify", "Missing expected argument '<BACKUP> ...'"),
        ("verify ''", "BACKUP is empty"),
        ("verify a nbd://host/x", "BACKUP: nbd:... is not available in this version"),
        ("verify --against '' a", "--against is empty"),
        ("verify --manifest '' a", "--manifest is empty"),
        ("verify --chain '' a", "--chain takes the name of a folder"),
        ("verify -j 0 a", "-j is a number from 1 to 64, not 0"),
        ("verify --sample=100% a", "--sample is more than 0% and less than 100%, such as 5%, not '100%'"),
        ("verify --max-duration=5x a", "--max-duration is a time such as 90s, 10m or 2h, not '5x'"),
        ("verify --structure --sample=5% a", "--structure and --sample contradict each other"),
        (
            "--digest=md5 a b",
            "The value 'md5' is invalid for '--digest <algorithm>'. Please provide one of 'xxh3', 'sha256' or 'none'."
        ),
        ("--digest=none --manifest m a b", "--manifest and --digest=none contradict each other"),
        ("--manifest '' a b", "--manifest is empty"),
        ("restore --chain '' a b", "--chain takes the name of a folder"),
        ("restore -n --force a b", "-n writes into TARGET and --force replaces it: give one of them"),
        ("restore --sync=top a b", "Unknown option '--sync'"),
        ("restore --speed=fast a b", "--speed is a number of bytes such as 100M, not 'fast'"),
        ("--speed= a b", "Missing expected argument '<TARGET>'"),
        ("--speed=fast a b", "--speed is a number of bytes such as 100M, not 'fast'"),
        ("--speed=-1 a b", "--speed is a number of bytes such as 100M, not '-1'"),
        ("--speed=16E a b", "--speed is a number of bytes such as 100M, not '16E'"),
        (
            "--on-source-error=retry a b",
            """
            The value 'retry' is invalid for '--on-source-error <action>'. Please provide one of 'report', 'ignore', \
            'enospc' or 'stop'.
            """
        ),
    ])
    func usageErrors(line: String, message: String) async throws {
        let run = try await Self.run(Self.words(line))
        #expect(run.status == 2)
        #expect(run.output == "")
        #expect(run.errors == "qcowbackup: \(message) (see qcowbackup --help)\n")

        // In JSON, too; some of them, as a parser without optimisation checks itself for a tenth of a second each time.
        guard isHeavyRun || line.utf8.count % 3 == 0 else { return }
        var words = Self.words(line)
        if ["bitmap", "info", "map", "compare", "list", "verify"].contains(words.first) {
            words.append("--output=json")
        } else {
            words.insert("--output=json", at: ["backup", "restore"].contains(words.first) ? 1 : 0)
        }
        let asJSON = try await Self.run(words)
        #expect(asJSON.status == 2)
        #expect(asJSON.output == "")
        let escaped = message.replacing("\"", with: "\\\"")
        #expect(
            asJSON.errors
                == #"{"advice":"see qcowbackup --help","code":"usage","message":"\#(escaped)","type":"error"}"# + "\n")
    }

    /// Options before a command make it a file to back up.
    @Test(
        arguments: [
            ("-q restore a b", "restore"), ("-q verify b", "verify"), ("-q list", "list"), ("-p -- check b", nil),
        ] as [(String, String?)])
    func commandsBehindOptions(line: String, command: String?) async throws {
        let run = try await Self.run(line.split(separator: " ").map(String.init))
        #expect(
            run.errors.contains("options stand behind the command: qcowbackup \(command ?? "") [options]")
                == (command != nil))
        if command != nil { #expect(run.status == 2) }
    }

    /// There, 2 would say that the image is corrupt.
    @Test(arguments: [
        ("check ''", "IMAGE is empty"),
        ("check nbd://host/x", "IMAGE: nbd:... is not available in this version"),
        ("check -r all -U a", "-U is for reading: an image in use can't be repaired"),
    ])
    func usageErrorsOfCheck(line: String, message: String) async throws {
        let run = try await Self.run(Self.words(line))
        #expect(run.status == 1)
        #expect(run.errors == "qcowbackup: \(message) (see qcowbackup --help)\n")
    }

    @Test(arguments: [
        (
            "--sync=incremental a b", "--sync=incremental needs --bitmap NAME", nil,
        ),
        (
            "--sync=incremental --bitmap x a b",
            "--sync=incremental needs -b PARENT: the backup that the changes go on",
            "name the last one made with this bitmap; --sync=full starts a chain",
        ),
    ])
    func contradictions(line: String, message: String, advice: String?) async throws {
        let run = try await Self.run(Self.words(line))
        #expect(run.status == 2)
        #expect(run.output == "")
        #expect(run.errors == "qcowbackup: \(message)" + (advice.map { " (\($0))" } ?? "") + "\n")
        let asJSON = try await Self.run(["--output=json"] + Self.words(line))
        #expect(asJSON.status == 2)
        #expect(asJSON.errors.contains(#""code":"usage","message":"\#(message)""#))
    }

    @Test(arguments: [
        (["--output=json"], true), (["--output", "json"], true), (["x", "--output", "json", "y"], true),
        (["--", "--output=json"], false), (["--output", "human"], false), (["--output"], false), ([], false),
        (["--output", "--", "json"], false),
    ])
    func wantsJSON(arguments: [String], expected: Bool) {
        #expect(Program.wantsJSON(arguments) == expected)
    }

    @Test func anErrorWithControlCharactersStaysOneLine() async throws {
        let run = try await Self.run(["a", "b", "c\n\u{1b}[2J"])
        #expect(run.errors == #"qcowbackup: Unexpected argument 'c\n\u{1B}[2J' (see qcowbackup --help)"# + "\n")
    }

    @Test func version() async throws {
        let run = try await Self.run(["--version"])
        #expect(run.status == 0)
        #expect(run.output.wholeMatch(of: /qcowbackup \d+\.\d+\.\d+\n/) != nil)
        #expect(run.errors == "")
    }

    @Test(arguments: ["--help", "-h", "help", "backup --help", "help backup", "--help --sync=none", "a b --help"])
    func help(line: String) async throws {
        let run = try await Self.run(Self.words(line))
        #expect(run.status == 0)
        #expect(run.errors == "")
        for word in [
            "EXAMPLES:", "EXIT CODES:", "--sync <mode>", "--force", "  -n ", "--compression-level", "stable storage",
        ] {
            #expect(run.output.contains(word), "\(word)")
        }
        for text in run.output.split(separator: "\n") {
            #expect(text.count <= 80)
        }
    }

    /// Letters of a file's name are no options.
    @Test(arguments: [
        ("-dash.qcow2 out", 2), ("disk -dash.qcow2", 2), ("--sync=full -dash.qcow2 out", 2), ("backup -h.qcow2 out", 2),
        ("info -dash.qcow2", 2), ("restore -dash.qcow2 out", 2), ("verify -dash.qcow2", 2), ("check -dash.qcow2", 1),
        ("bitmap list -dash.qcow2", 2), ("compare -dash.qcow2 -h.qcow2", 2), ("-qh disk out", 2),
    ])
    func aNameWithADash(line: String, status: Int32) async throws {
        let run = try await Self.run(Self.words(line))
        #expect(run.status == status)
        #expect(run.output == "")
        #expect(run.errors.split(separator: "\n").count == 1, "\(run.errors)")
    }

    @Test func theAdviceForADash() async throws {
        let run = try await Self.run(["-dash.qcow2", "out"])
        #expect(
            run.errors == "qcowbackup: -dash.qcow2 is no option (a file whose name begins with a dash is named "
                + "./-dash.qcow2)\n")
    }

    @Test(arguments: ["restore --help", "restore -h", "help restore", "restore a b --help"])
    func helpOfRestore(line: String) async throws {
        let run = try await Self.run(Self.words(line))
        #expect(run.status == 0)
        #expect(run.errors == "")
        for word in [
            "EXAMPLES:", "EXIT CODES:", "<BACKUP> <TARGET>", "--chain <folder>", "--force", "  -n ", "-O raw",
            "stable storage", "(default: qcow2; restore",
        ] {
            #expect(run.output.contains(word), "\(word)")
        }
        #expect(!run.output.contains("SOURCE"))
        for text in run.output.split(separator: "\n") {
            #expect(text.count <= 80)
        }
    }

    @Test(arguments: [
        "-o help", "-o ?", "-ohelp", "-o cluster_size=4k,help a b", "-O qcow2 a b -o help", "backup -o help",
    ])
    func targetOptionsHelp(line: String) async throws {
        let run = try await Self.run(Self.words(line))
        #expect(run.status == 0)
        #expect(run.errors == "")
        let lines = run.output.split(separator: "\n")
        #expect(lines.count == TargetOption.all.count + 1)
        for (line, option) in zip(lines.dropFirst(), TargetOption.all) {
            #expect(line.hasPrefix("  \(option.name)=<") && line.hasSuffix(" - \(option.summary)"))
        }
    }

    @Test(arguments: ["a -- -o help", "-o helpful a b", "-o data_file=help a b", "-o cluster_size=help a b"])
    func noTargetOptionsHelp(line: String) {
        #expect(!TargetOptionList.isAskedForHelp(in: Self.words(line)))
    }

    @Test(
        arguments: [
            (
                "bash",
                [
                    #"-W 'full'$'\n''top'$'\n''incremental'$'\n''bitmap'"#, #"'raw'$'\n''qcow2'"#,
                    #"'zlib'$'\n''zstd'"#, #"'cluster_size='"#,
                ]
            ),
            (
                "zsh",
                [
                    "('full' 'top' 'incremental' 'bitmap')", "('raw' 'qcow2')", "('zlib' 'zstd')", "':SOURCE:_files'",
                    "'cluster_size='",
                ]
            ),
            ("fish", ["'full top incremental bitmap'", "'raw qcow2'", "'zlib zstd'", "cluster_size="]),
        ])
    func completionScripts(shell: String, words: [String]) async throws {
        let run = try await Self.run(["--generate-completion-script", shell])
        #expect(run.status == 0)
        #expect(run.errors == "")
        for word in words {
            // Once for `qcowbackup backup`, once for `qcowbackup`.
            let count = run.output.components(separatedBy: word).count - 1
            #expect(count >= 2, "\(word)")
        }
        #expect(run.output.contains("restore") && run.output.contains("chain"))
        let isMissing = !run.output.contains("keep-partial")
        #expect(!isMissing)
    }

    /// The manual page is made from this.
    @Test func descriptionForTheManual() async throws {
        // Longer than a pipe's usual buffer, and nobody reads before the program's end.
        let run = try await Self.run(["--experimental-dump-help"], outputCapacity: 1 << 20)
        #expect(run.status == 0)
        let object = try #require(try JSONSerialization.jsonObject(with: Data(run.output.utf8)) as? [String: Any])
        let command = try #require(object["command"] as? [String: Any])
        #expect(command["commandName"] as? String == "qcowbackup")
        #expect((command["discussion"] as? String)?.contains("EXIT CODES:") == true)
        let arguments = try #require(command["arguments"] as? [[String: Any]])
        let positions = arguments.filter { $0["kind"] as? String == "positional" }
        #expect(positions.compactMap { $0["valueName"] as? String } == ["SOURCE", "TARGET"])
        #expect(arguments.count > 20)
        let others = try #require(command["subcommands"] as? [[String: Any]])
        #expect(others.compactMap { $0["commandName"] as? String }.contains("restore"))
        #expect(!others.contains { $0["commandName"] as? String == "backup" })
    }

    @Test func anUnknownShellIsAUsageError() async throws {
        let run = try await Self.run(["--generate-completion-script", "csh"])
        #expect(run.status == 2)
        #expect(run.output == "")
        #expect(run.errors.contains("csh"))
        #expect(run.errors.hasSuffix(" (see qcowbackup --help)\n"))
    }

    @Test func successForPeople() async throws {
        let run = try await Self.run(["a", "b"], ending: .success(Self.summary), warnings: ["one", "two"])
        #expect(run.status == 0)
        #expect(run.output == "")
        #expect(
            run.errors == """
                qcowbackup: warning: one
                qcowbackup: warning: two
                b: read 2 KiB, written 1 KiB, zero 1 KiB, skipped 0 B, target 512 B in 1.0 s, 2 KiB/s

                """)
    }

    @Test func restoreEndsAsABackupDoes() async throws {
        let run = try await Self.run(
            ["restore", "--output=json", "a", "b"], ending: .success(Self.summary), warnings: ["one"])
        #expect(run.status == 0)
        #expect(run.output.hasPrefix(#"{"bytes-offloaded":0,"#))
        #expect(run.errors == #"{"message":"one","type":"warning"}"# + "\n")
        let failure = try await Self.run(["restore", "a", "b"], ending: .failure(ServiceError(.locked, "why")))
        #expect(failure.status == 11)
        #expect(failure.errors == "qcowbackup: why\n")
        var incomplete = Self.summary
        incomplete.unreadable = [0..<512]
        let salvaged = try await Self.run(["restore", "a", "b"], ending: .success(incomplete))
        #expect(salvaged.status == 3)
    }

    @Test func successForPrograms() async throws {
        let run = try await Self.run(
            ["--output=json", "-c", "a", "b"], ending: .success(Self.summary), warnings: ["one"])
        #expect(run.status == 0)
        #expect(
            run.output == """
                {"bytes-offloaded":0,"bytes-read":2048,"bytes-skipped":0,"bytes-written":1024,"bytes-zero":1024,\
                "compression-ratio":0.5,"rate":2048,"seconds":1,"sync":"full","target":"b","target-length":512,\
                "unreadable":[],"virtual-size":2048}

                """)
        #expect(run.errors == #"{"message":"one","type":"warning"}"# + "\n")
    }

    /// What scripts learn from the code alone, with `--strict` and without.
    @Test(
        arguments: [
            (nil, false, [], 0), ("why", false, [], 4), (nil, true, [], 5), ("why", false, [0..<512], 3),
            (nil, true, [0..<512], 3),
        ] as [(String?, Bool, [Range<UInt64>], Int32)])
    func strict(fallback: String?, isUnchanged: Bool, unreadable: [Range<UInt64>], code: Int32) async throws {
        var summary = Self.summary
        summary.unreadable = unreadable
        summary.bitmap = BitmapSummary(
            name: "b0", mode: .onSuccess, parent: fallback == nil ? "/p" : nil, fallback: fallback,
            isUnchanged: isUnchanged)
        let strict = try await Self.run(["-q", "--strict", "a", "b"], ending: .success(summary))
        #expect(strict.status == code)
        let usual = try await Self.run(["-q", "a", "b"], ending: .success(summary))
        #expect(usual.status == (unreadable.isEmpty ? 0 : 3))
    }

    @Test func quietKeepsWarningsAndErrors() async throws {
        let success = try await Self.run(["-q", "a", "b"], ending: .success(Self.summary), warnings: ["one"])
        #expect(success.errors == "qcowbackup: warning: one\n")
        let failure = try await Self.run(["-q", "a", "b"], ending: .failure(ServiceError(.exists, "b: exists")))
        #expect(failure.status == 1)
        #expect(failure.errors == "qcowbackup: b: exists\n")
    }

    @Test func jsonProgressEndsWithAHundred() async throws {
        let run = try await Self.run(["--progress=json", "-q", "a", "b"], ending: .success(Self.summary))
        let lines = run.errors.split(separator: "\n")
        #expect(try #require(lines.last).hasPrefix(#"{"len":10,"offset":10,"percent":100,"rate":"#))
        #expect(lines.dropLast().allSatisfy { !$0.contains(#""percent":100"#) })
    }

    @Test func aFailedRunShowsNoHundred() async throws {
        let run = try await Self.run(
            ["--progress=json", "--output=json", "a", "b"], ending: .failure(ServiceError(.io, "x")))
        #expect(!run.errors.contains(#""percent":100"#))
        #expect(run.errors.hasSuffix(#"{"code":"io","message":"x","type":"error"}"# + "\n"))
    }

    @Test(arguments: [(ServiceError.Code.locked, Int32(11)), (.usage, 2), (.noSpace, 1), (.cancelled, 1)])
    func failure(code: ServiceError.Code, status: Int32) async throws {
        let run = try await Self.run(["a", "b"], ending: .failure(ServiceError(code, "why", advice: "what to do")))
        #expect(run.status == status)
        #expect(run.output == "")
        #expect(run.errors == "qcowbackup: why (what to do)\n")
    }

    /// The bar, where it is asked for and there is no terminal, ends with a full one.
    @Test func aBarInAFile() async throws {
        let run = try await Self.run(["-p", "a", "b"], ending: .success(Self.summary))
        #expect(run.errors.contains("\r100.0% ["))
        #expect(
            run.errors.hasSuffix(
                "\nb: read 2 KiB, written 1 KiB, zero 1 KiB, skipped 0 B, target 512 B in 1.0 s, 2 KiB/s\n"))
        #expect(!run.errors.contains("\u{1b}"))
    }
}
