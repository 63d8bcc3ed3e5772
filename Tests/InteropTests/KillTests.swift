// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import SystemPackage
import TestSupport
import Testing

/// The program ended by a signal at every place that changes a file (a sample of them where tests are to be quick).
@Suite("Signals at any moment", .enabled(if: FaultTestNeeds.all, FaultTestNeeds.comment))
struct KillTests {
    private static let calls = FaultWorkshop.changes.split(separator: ",").map(String.init) + ["unlink", "pread64"]
    private static let mostCalls = 60

    /// Call names and numbers to try.
    private func places(_ random: inout SeededRandom) -> [(call: String, numbers: [Int])] {
        guard !isHeavyRun else { return Self.calls.map { ($0, Array(1...Self.mostCalls)) } }
        // Half of the calls for each kind of backup and signal; every run makes the first one.
        return (Self.calls.prefix(1) + Self.calls.dropFirst().shuffled(using: &random).prefix(4)).map { call in
            (call, [Int.random(in: 1...Int.random(in: 1...6, using: &random), using: &random)])
        }
    }

    @Test("killed at any moment: nothing that looks whole, and the next run succeeds", arguments: FaultScenario.all)
    func kill(_ scenario: FaultScenario) async throws {
        let workshop = try await FaultWorkshop()
        var random = SeededRandom(seed: 0x9111 + UInt64(scenario.name.count))
        var hits = 0
        for (call, numbers) in places(&random) {
            for number in numbers {
                try workshop.prepare(scenario)
                let running = try workshop.startTraced(
                    scenario, calls: call, inject: "\(call):signal=KILL:when=\(number)",
                    onSource: call == "pread64", ["--quiet"])
                let result = try await running.wait()
                let context = "\(scenario.name), killed at \(call) number \(number)"
                try await workshop.judge(scenario, result, expecting: [0, 128 + SIGKILL], wasKilled: true, context)
                guard result.exitCode != 0 else { break }
                hits += 1
                try await workshop.judgeNextRun(scenario, context)
            }
        }
        #expect(hits > 0, "at least one run was killed")
    }

    @Test(
        "asked to end at any moment: tidied up, and the exit code names the signal", arguments: FaultScenario.all,
        [SIGINT, SIGTERM])
    func stop(_ scenario: FaultScenario, _ signal: Int32) async throws {
        let workshop = try await FaultWorkshop()
        var random = SeededRandom(seed: 0x7E97 + UInt64(scenario.name.count) + UInt64(signal))
        var hits = 0
        for (call, numbers) in places(&random) {
            for number in numbers {
                try workshop.prepare(scenario)
                // The run stands still at the place, gets the signal, and goes on.
                let running = try workshop.startTraced(
                    scenario, calls: call, inject: "\(call):signal=STOP:when=\(number)",
                    onSource: call == "pread64", ["--quiet"])
                let context = "\(scenario.name), signal \(signal) at \(call) number \(number)"
                do {
                    try await running.waitForOutput(Self.stopped)
                } catch .ended(_, _, let result) {
                    try await workshop.judge(scenario, result, expecting: [0], context)
                    break
                }
                hits += 1
                let result = try await proceed(running, with: signal)
                // A run that has copied everything may go on to its end.
                try await workshop.judge(scenario, result, expecting: [0, 128 + signal], context)
            }
        }
        #expect(hits > 0, "at least one run was stopped")
    }

    /// In strace's output, behind the number of a thread.
    private static let stopped = " --- stopped by SIGSTOP ---"

    /// Sends a signal to a program that stands still, and lets it go on.
    private func proceed(_ running: RunningProgram, with signal: Int32) async throws -> ProgramResult {
        let line = try #require(
            running.result.standardOutput.split(separator: "\n").first { $0.hasSuffix(Self.stopped) })
        // Linux takes the number of any thread for its process.
        let process = try #require(line.split(separator: " ").first.flatMap { pid_t($0) })
        Glibc.kill(process, signal)
        // strace counts by thread: others may come to the place too, and stand still again.
        let helper = Task {
            while !Task.isCancelled {
                if running.result.exitCode < 0 { Glibc.kill(process, SIGCONT) }
                try await Task.sleep(for: .milliseconds(20))
            }
        }
        defer { helper.cancel() }
        return try await running.wait()
    }
}
