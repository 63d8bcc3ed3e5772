// SPDX-License-Identifier: GPL-2.0-or-later

import SystemPackage
import TestSupport
import Testing

/// Programs are run as asked, and nothing of a program outlives its object.
struct ProgramTests {
    static let shell = Program("sh")

    @Test func reportsOutputErrorAndExitCode() async throws {
        let result = try await Self.shell.run(["-c", "cat; echo bad >&2; exit 7"], input: Array("in".utf8))
        #expect(result.exitCode == 7)
        #expect(result.standardOutput == "in")
        #expect(result.standardError == "bad\n")
    }

    @Test func largeOutputOnBothStreamsDoesNotBlock() async throws {
        let result = try await Self.shell.runSuccessfully(
            ["-c", "head -c 1000000 /dev/zero >&2; head -c 1000000 /dev/zero"])
        #expect(result.outputBytes.count == 1_000_000)
        #expect(result.errorBytes.count == 1_000_000)
    }

    @Test func signalsBecomeExitCodes() async throws {
        let result = try await Self.shell.run(["-c", "kill -9 $$"])
        #expect(result.exitCode == 137)
    }

    @Test func aRunningProgramTakesSignals() async throws {
        let program = try Program("cat").start([])
        program.signal(15)
        #expect(try await program.wait().exitCode == 143)
    }

    @Test func passesEnvironmentAndDirectory() async throws {
        try await withTemporaryDirectory { directory in
            let result = try await Self.shell.runSuccessfully(
                ["-c", "echo $NUMBER; pwd"], environment: ["NUMBER": "5"], directory: directory.path)
            #expect(result.standardOutput == "5\n\(directory.path)\n")
        }
    }

    @Test func timeoutKillsTheProgram() async throws {
        let error = await #expect(throws: ProgramError.self) {
            try await Self.shell.run(["-c", "echo started; exec sleep 1000"], timeout: .milliseconds(300))
        }
        guard case .timedOut = error else {
            Issue.record("not a timeout: \(String(describing: error))")
            return
        }
    }

    @Test func missingProgramIsNotInstalled() async {
        let missing = Program("no-such-program-anywhere")
        #expect(!missing.isInstalled)
        await #expect(throws: ProgramError.self) { try await missing.run([]) }
        await #expect(throws: ProgramError.self) {
            try await Program(name: "directory", path: "/usr").run([])
        }
    }

    @Test func talksToARunningProgram() async throws {
        let cat = try Program("cat").start([])
        await cat.write("hello\n")
        try await cat.waitForOutput("hello")
        #expect(cat.result.exitCode == -1)
        cat.closeInput()
        #expect(try await cat.wait().exitCode == 0)
    }

    @Test func endBeforeTheAwaitedTextIsAnError() async throws {
        let program = try Self.shell.start(["-c", "echo this"])
        await #expect(throws: ProgramError.self) { try await program.waitForOutput("that") }
    }

    @Test func childrenInheritNoDescriptors() async throws {
        try await withTemporaryDirectory { directory in
            let path = try directory.write([1], to: "file")
            let descriptor = try FileDescriptor.open(path, .readOnly)
            defer { try? descriptor.close() }
            let result = try await Self.shell.runSuccessfully(["-c", "ls -l /proc/self/fd"])
            #expect(!result.standardOutput.contains(directory.path.string))
        }
    }
}
