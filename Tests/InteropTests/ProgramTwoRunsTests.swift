// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import SystemPackage
import TestSupport
import Testing

/// Two users of one target, or of one disk, at the same time: one wins, the other says so, and nothing is lost.
@Suite("Two at a time", .enabled(if: FaultTestNeeds.all, FaultTestNeeds.comment))
struct ProgramTwoRunsTests {
    private static let stopped = " --- stopped by SIGSTOP ---"

    /// Starts a run that stands still where it first makes one of these calls, on one path if that is given.
    private func startHeld(
        _ workshop: FaultWorkshop, _ scenario: FaultScenario, at call: String, on path: String? = nil
    ) async throws -> (program: RunningProgram, process: pid_t) {
        let program = try #require(Program.qcowbackup.path?.string)
        let running = try Program.strace.start(
            ["-f", "-o", "/dev/stdout", "-e", "trace=\(call)", "-e", "inject=\(call):signal=STOP:when=1"]
                + (path.map { ["-P", $0] } ?? []) + [program] + workshop.arguments(scenario, ["--quiet"]))
        try await running.waitForOutput(Self.stopped)
        let line = try #require(
            running.result.standardOutput.split(separator: "\n").first { $0.hasSuffix(Self.stopped) })
        // Linux takes the number of any thread for its process.
        return (running, try #require(line.split(separator: " ").first.flatMap { pid_t($0) }))
    }

    private func finish(_ held: (program: RunningProgram, process: pid_t)) async throws -> ProgramResult {
        let helper = Task {
            while !Task.isCancelled {
                // Other threads may come to the place too.
                if held.program.result.exitCode < 0 { Glibc.kill(held.process, SIGCONT) }
                try await Task.sleep(for: .milliseconds(20))
            }
        }
        defer { helper.cancel() }
        return try await held.program.wait()
    }

    @Test("the second run on a target is refused, the first one finishes", arguments: FaultScenario.all)
    func sameTarget(_ scenario: FaultScenario) async throws {
        let workshop = try await FaultWorkshop()
        try workshop.prepare(scenario)
        let first = try await startHeld(workshop, scenario, at: "fdatasync")
        let second = try await workshop.run(scenario)
        #expect(second.exitCode == 11, "\(second)")
        #expect(second.standardError.contains(FaultWorkshop.targetName), "\(second)")
        #expect(second.standardError.split(separator: "\n").count == 1, "\(second)")
        let result = try await finish(first)
        try await workshop.judge(scenario, result, expecting: [0], scenario.name)
    }

    @Test("a file that appears meanwhile stays")
    func targetAppears() async throws {
        let workshop = try await FaultWorkshop()
        let scenario = FaultScenario.all[0]
        try workshop.prepare(scenario)
        let held = try await startHeld(workshop, scenario, at: "fdatasync")
        try workshop.directory.write([1, 2, 3], to: FaultWorkshop.targetName)
        let result = try await finish(held)
        #expect(result.exitCode == 1, "\(result)")
        #expect(result.standardError.contains("File exists"), "\(result)")
        #expect(result.standardError.split(separator: "\n").count == 1, "\(result)")
        #expect(try workshop.directory.read(FaultWorkshop.targetName) == [1, 2, 3])
        #expect(!workshop.directory.exists(FaultWorkshop.partialName))
    }

    @Test("a run that opens what another one has just finished leaves it alone")
    func finishedBetweenOpenAndLock() async throws {
        let workshop = try await FaultWorkshop()
        let scenario = FaultScenario.all[0]
        try workshop.prepare(scenario)
        let first = try await startHeld(workshop, scenario, at: "fdatasync")
        let second = try await startHeld(workshop, scenario, at: "openat", on: workshop.partial)
        let firstResult = try await finish(first)
        #expect(firstResult.exitCode == 0, "\(firstResult)")
        let finished = try workshop.directory.read(FaultWorkshop.targetName)
        let secondResult = try await finish(second)
        #expect(secondResult.exitCode == 1, "\(secondResult)")
        #expect(secondResult.standardError.contains("exists"), "\(secondResult)")
        #expect(try workshop.directory.read(FaultWorkshop.targetName) == finished)
        try await workshop.judge(scenario, firstResult, expecting: [0], "afterwards")
    }

    /// Which file QEMU writes to while a run wants it.
    enum Busy: String, CaseIterable, Sendable {
        case source, backing, existing, replaced
    }

    @Test("an image that QEMU writes to", arguments: Busy.allCases)
    func busy(_ busy: Busy) async throws {
        let workshop = try await FaultWorkshop()
        var scenario = FaultScenario.all[0]
        var path = workshop.target
        switch busy {
        case .source: path = workshop.source
        case .backing: path = workshop.directory.file("base.qcow2").string
        case .existing: scenario = FaultScenario(name: "existing", arguments: ["-n"], before: .emptyImage)
        case .replaced: scenario = FaultScenario(name: "replaced", arguments: ["--force"], before: .oldImage)
        }
        try workshop.prepare(scenario)
        let user = try Program.qemuIO.start(["-f", "qcow2", path])
        // Its prompt comes once the image is open.
        await user.write("length\n")
        try await user.waitForOutput("1 MiB")
        let result = try await workshop.run(scenario)
        #expect(result.exitCode == 11, "\(result)")
        #expect(result.standardError.contains(path), "\(result)")
        #expect(result.standardError.split(separator: "\n").count == 1, "\(result)")
        if busy == .source {
            let shared = try await workshop.run(scenario, ["-U", "--quiet"])
            #expect(shared.exitCode == 0, "\(shared)")
        }
        user.closeInput()
        _ = try await user.wait()
        #expect(!workshop.directory.exists(FaultWorkshop.partialName))
        if busy == .existing || busy == .replaced {
            let left = try await workshop.whatIsLeft(scenario)
            #expect(left == .untouched, "\(left)")
        }
    }
}
