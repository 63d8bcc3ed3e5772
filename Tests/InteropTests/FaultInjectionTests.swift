// SPDX-License-Identifier: GPL-2.0-or-later

import SystemPackage
import TestSupport
import Testing

/// System calls of the program that fail, one at a time, at every place (a sample of them where tests are to be quick).
///
/// strace counts calls by thread, and threads share the work differently each time: which call fails is left to chance,
/// and what is asserted holds for any.
@Suite("Faults of system calls", .enabled(if: FaultTestNeeds.all, FaultTestNeeds.comment))
struct FaultInjectionTests {
    /// A call and the error that it returns.
    struct Case: Sendable, CustomTestStringConvertible {
        let call: String
        let error: String
        /// As in messages.
        let text: String

        var testDescription: String { "\(call) \(error)" }

        static let all = [
            Case(call: "pwrite64", error: "ENOSPC", text: "No space left on device"),
            Case(call: "pwrite64", error: "EIO", text: "Input/output error"),
            Case(call: "fdatasync", error: "EIO", text: "Input/output error"),
            Case(call: "fdatasync", error: "ENOSPC", text: "No space left on device"),
            Case(call: "fsync", error: "EIO", text: "Input/output error"),
            Case(call: "ftruncate", error: "ENOSPC", text: "No space left on device"),
            Case(call: "ftruncate", error: "EFBIG", text: "File too large"),
            Case(call: "pread64", error: "EIO", text: "Input/output error"),
            Case(call: "fallocate", error: "EIO", text: "Input/output error"),
            Case(call: "copy_file_range", error: "EIO", text: "Input/output error"),
            Case(call: "/rename", error: "EACCES", text: "Permission denied"),
            Case(call: "/rename", error: "EINVAL", text: "Invalid argument"),
        ]
    }

    /// More calls of a kind than any thread makes.
    private static let mostCalls = 60

    @Test("whatever fails, the target is absent or refused, or complete with exit code 0", arguments: FaultScenario.all)
    func faults(_ scenario: FaultScenario) async throws {
        let workshop = try await FaultWorkshop()
        var random = SeededRandom(seed: 0xFA17 + UInt64(scenario.name.count))
        var hits = 0
        for fault in Case.all {
            if isHeavyRun {
                for number in 1...Self.mostCalls {
                    guard try await run(fault, number, scenario, in: workshop) else { break }
                    hits += 1
                }
            } else {
                // Small numbers are the ones that every run reaches.
                let number = Int.random(in: 1...Int.random(in: 1...6, using: &random), using: &random)
                if try await run(fault, number, scenario, in: workshop) { hits += 1 }
            }
        }
        #expect(hits > 0, "at least one call failed")
    }

    @Test("a disk that fails from some write on", arguments: FaultScenario.all)
    func lasting(_ scenario: FaultScenario) async throws {
        let workshop = try await FaultWorkshop()
        let fault = Case.all[1]
        var hits = 0
        for number in isHeavyRun ? Array(1...Self.mostCalls) : [1, 3] {
            guard try await run(fault, number, andLater: true, scenario, in: workshop) else { break }
            hits += 1
        }
        #expect(hits > 0, "at least one call failed")
    }

    /// - Returns: whether the call was made to fail.
    private func run(
        _ fault: Case, _ number: Int, andLater: Bool = false, _ scenario: FaultScenario, in workshop: FaultWorkshop
    ) async throws -> Bool {
        try workshop.prepare(scenario)
        let running = try workshop.startTraced(
            scenario, calls: fault.call,
            inject: "\(fault.call):error=\(fault.error):when=\(number)\(andLater ? "+" : "")",
            // The loader of libraries reads too.
            onSource: fault.call == "pread64",
            // Not a word more than the error.
            ["--quiet"])
        let result = try await running.wait()
        let isHit = result.standardOutput.contains("(INJECTED)")
        try await workshop.judge(
            scenario, result, expecting: isHit ? [0, 1] : [0], causes: [fault.text],
            "\(scenario.name), \(fault.call) \(fault.error) number \(number)")
        return isHit
    }
}
