// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import Glibc
import SystemPackage
import TestSupport
import Testing

/// What the program says while it runs and at its end, and what it does about signals meanwhile.
@Suite("Signals and streams", .enabled(if: FaultTestNeeds.all, FaultTestNeeds.comment))
struct ProgramStreamsTests {
    private static let scenario = FaultScenario.all[0]

    /// Starts a run whose writes never end, and waits until it is about to begin with them.
    ///
    /// They are interrupted again and again. (strace can delay calls too, but at times hangs itself when a thread ends meanwhile.)
    /// The trace shows only calls that succeed, since it would fill up with the others.
    private func startHanging(
        _ workshop: FaultWorkshop, _ options: [String]
    ) async throws -> (program: RunningProgram, process: pid_t) {
        let program = try #require(Program.qcowbackup.path?.string)
        let running = try Program.strace.start(
            ["-f", "-z", "-o", "/dev/stdout", "-e", "trace=ftruncate,pwrite64"]
                + ["-e", "inject=ftruncate:signal=STOP:when=1", "-e", "inject=pwrite64:error=EINTR"]
                + [program] + options + [workshop.source, workshop.target])
        let stopped = " --- stopped by SIGSTOP ---"
        try await running.waitForOutput(stopped)
        let line = try #require(running.result.standardOutput.split(separator: "\n").first { $0.hasSuffix(stopped) })
        let process = try #require(line.split(separator: " ").first.flatMap { pid_t($0) })
        return (running, process)
    }

    @Test("a second signal ends a run that hangs, and the next run tidies up", arguments: [SIGINT, SIGTERM, SIGHUP])
    func secondSignal(_ signal: Int32) async throws {
        let workshop = try await FaultWorkshop()
        let (running, process) = try await startHanging(workshop, [])
        Glibc.kill(process, SIGCONT)
        Glibc.kill(process, signal)
        try await running.waitForOutput("qcowbackup: cancelling")
        // The program takes what follows at once for the same request.
        let helper = Task {
            while !Task.isCancelled {
                try await Task.sleep(for: .milliseconds(300))
                if running.result.exitCode < 0 { Glibc.kill(process, signal) }
            }
        }
        defer { helper.cancel() }
        let result = try await running.wait(timeout: .seconds(60))
        #expect(result.exitCode == 128 + signal, "\(result)")
        #expect(!workshop.directory.exists(FaultWorkshop.targetName))
        let next = try await workshop.run(Self.scenario)
        try await workshop.judge(Self.scenario, next, expecting: [0], "the next run")
    }

    @Test("USR1 gets one line of progress", arguments: [[], ["--output=json"]])
    func report(_ options: [String]) async throws {
        let workshop = try await FaultWorkshop()
        let (running, process) = try await startHanging(workshop, options)
        Glibc.kill(process, SIGCONT)
        Glibc.kill(process, SIGUSR1)
        try await running.waitForOutput(options.isEmpty ? "% " : "\"type\":\"progress\"")
        let lines = running.result.standardError.split(separator: "\n")
        #expect(lines.count == 1, "\(lines)")
        if !options.isEmpty {
            #expect(throws: Never.self) { try JSONSerialization.jsonObject(with: Data(lines[0].utf8)) }
        }
        Glibc.kill(process, SIGKILL)
        _ = try await running.wait()
    }

    private struct ProgressLine: Decodable {
        let type: String
        let percent: Double
        let offset: UInt64
        let len: UInt64
        let rate: UInt64
    }

    @Test("progress and summary in JSON")
    func json() async throws {
        let workshop = try await FaultWorkshop()
        let result = try await Program.qcowbackup.run(
            ["--progress=json", "--output=json", workshop.source, workshop.target])
        #expect(result.exitCode == 0, "\(result)")
        let lines = try result.standardError.split(separator: "\n").map {
            try JSONDecoder().decode(ProgressLine.self, from: Data($0.utf8))
        }
        #expect(lines.allSatisfy { $0.type == "progress" && $0.offset <= $0.len })
        #expect(lines.map(\.percent) == lines.map(\.percent).sorted())
        #expect(lines.dropLast().allSatisfy { $0.percent < 100 })
        #expect(lines.last?.percent == 100)
        let summary = try #require(try JSONSerialization.jsonObject(with: Data(result.outputBytes)) as? [String: Any])
        #expect(result.standardOutput.filter { $0 == "\n" }.count == 1)
        #expect(summary["target"] as? String == workshop.target, "\(summary)")
    }

    private struct ErrorLine: Decodable {
        let type: String
        let code: String
        let message: String
    }

    @Test("an error in JSON")
    func jsonError() async throws {
        let workshop = try await FaultWorkshop()
        let missing = workshop.directory.file("missing").string
        let result = try await Program.qcowbackup.run(["--output=json", missing, workshop.target])
        #expect(result.exitCode == 1)
        #expect(result.standardOutput == "")
        let line = try JSONDecoder().decode(ErrorLine.self, from: Data(result.errorBytes))
        #expect(line.type == "error" && line.code == "not-found" && line.message.contains(missing), "\(line)")
    }

    /// Shell redirections of streams that take nothing.
    @Test(
        "streams that are closed, full or abandoned change nothing",
        arguments: [
            ">&-", "2>&-", "<&- >&- 2>&-", ">/dev/full", "2>/dev/full", ">/dev/full 2>&1", "2>&1 | true",
        ])
    func deafStreams(_ redirection: String) async throws {
        let workshop = try await FaultWorkshop()
        let program = try #require(Program.qcowbackup.path?.string)
        let bash = Program("bash")
        // A pipe's exit code is that of the program, its first part.
        let script = "\"$0\" --progress=json --output=json \"$1\" \"$2\" \(redirection); exit ${PIPESTATUS[0]}"
        let result = try await bash.run(["-c", script, program, workshop.source, workshop.target])
        try await workshop.judge(Self.scenario, result, expecting: [0], redirection)
    }

    @Test("--keep-partial keeps what QEMU refuses", arguments: ["--sync=full", "--sync=top", "--compress"])
    func keepPartial(_ option: String) async throws {
        let workshop = try await FaultWorkshop()
        let scenario = FaultScenario(name: option, arguments: [option, "--keep-partial"], before: .nothing)
        var kept = 0
        // The fourth comes once the target is whole.
        for number in 1...3 {
            try workshop.prepare(scenario)
            let running = try workshop.startTraced(
                scenario, calls: "fdatasync", inject: "fdatasync:error=EIO:when=\(number)", ["--quiet"])
            let result = try await running.wait()
            guard result.standardOutput.contains("(INJECTED)") else { continue }
            try await workshop.judge(scenario, result, expecting: [1], keepsPartial: true, "fdatasync \(number)")
            // Where the first mark can't be written, there is nothing to keep.
            guard workshop.directory.exists(FaultWorkshop.partialName) else { continue }
            kept += 1
            let opened = try await Program.qemuIMG.run(["info", "-f", "qcow2", workshop.partial])
            #expect(opened.exitCode == 1, "\(opened)")
        }
        #expect(kept > 0, "at least one run kept its file")
        let next = try await workshop.run(scenario)
        try await workshop.judge(scenario, next, expecting: [0], "the next run")
    }
}
