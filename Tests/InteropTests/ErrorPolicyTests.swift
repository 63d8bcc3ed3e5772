// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import Glibc
import SystemPackage
import TestSupport
import Testing

/// What `--on-source-error`, `--on-target-error`, `--speed` and signal USR2 do to a run of the program.
@Suite(.enabled(if: FaultTestNeeds.all, FaultTestNeeds.comment))
struct ErrorPolicyTests {
    private struct Summary: Decodable {
        struct Extent: Decodable, Equatable {
            let start: Int
            let length: Int
        }

        let unreadable: [Extent]
        let seconds: Double
    }

    private static let length = 8 << 20

    /// A raw disk without a zero, and what of it a run of one worker reads at once.
    private func makeDisk(in directory: TemporaryDirectory) throws -> [UInt8] {
        var random = SeededRandom(seed: 3)
        let bytes = random.compressibleBytes(count: Self.length)
        try directory.write(bytes, to: "disk.raw")
        return bytes
    }

    /// Runs the program under strace; only reads of the disk count.
    private func run(
        _ inject: String, _ options: [String], in directory: TemporaryDirectory
    ) async throws -> ProgramResult {
        let program = try #require(Program.qcowbackup.path?.string)
        let disk = directory.file("disk.raw").string
        return try await Program.strace.run(
            ["-f", "-o", "/dev/null", "-P", disk, "-e", "trace=pread64", "-e", "inject=pread64:error=EIO:\(inject)"]
                + [program, "--max-workers=1", "--output=json", "-f", "raw", "-O", "raw"] + options
                + [disk, directory.file("copy.raw").string])
    }

    @Test("clusters that can't be read are left out, listed, and the exit code says so", arguments: [2, 3, 4])
    func ignore(first: Int) async throws {
        let directory = try TemporaryDirectory()
        let disk = try makeDisk(in: directory)
        // A chunk fails, then each of its first two clusters fails three times.
        let result = try await run("when=\(first)..\(first + 6)", ["--on-source-error=ignore"], in: directory)
        #expect(result.exitCode == 3, "\(result)")
        let summary = try JSONDecoder().decode(Summary.self, from: Data(result.outputBytes))
        let missing = summary.unreadable
        #expect(missing.map(\.length).reduce(0, +) == 2 * 65536, "\(result)")
        var expected = disk
        for extent in missing {
            let range = extent.start..<extent.start + extent.length
            expected.replaceSubrange(range, with: repeatElement(0, count: extent.length))
        }
        #expect(haveSameBytes(try directory.read("copy.raw"), expected))
    }

    @Test("an error that passes leaves no trace")
    func passingError() async throws {
        let directory = try TemporaryDirectory()
        let disk = try makeDisk(in: directory)
        let result = try await run("when=3..4", ["--on-source-error=ignore"], in: directory)
        #expect(result.exitCode == 0, "\(result)")
        #expect(haveSameBytes(try directory.read("copy.raw"), disk))
    }

    @Test(
        "without being asked to go on, an unreadable cluster ends the run",
        arguments: [[], ["--on-source-error=enospc"]])
    func report(options: [String]) async throws {
        let directory = try TemporaryDirectory()
        _ = try makeDisk(in: directory)
        let result = try await run("when=3", options, in: directory)
        #expect(result.exitCode == 1, "\(result)")
        #expect(!directory.exists("copy.raw"))
    }

    @Test(
        "a run that an error stopped at a terminal goes on at Enter and at signal USR2",
        .enabled(if: Program("script").isInstalled, "script is missing"), arguments: [true, false])
    func stop(byKey: Bool) async throws {
        let directory = try TemporaryDirectory()
        let disk = try makeDisk(in: directory)
        let program = try #require(Program.qcowbackup.path?.string)
        // A file can't grow beyond the limit until it is lifted.
        let (pid, source, target) = (
            directory.file("pid").string, directory.file("disk.raw").string, directory.file("copy.qcow2").string
        )
        let command =
            "echo $$ > \(pid); ulimit -S -f 4096; "
            + "exec \(program) --on-target-error=stop --progress=none -f raw \(source) \(target)"
        let running = try Program("script").start(["-qefc", "bash -c '\(command)'", "/dev/null"])
        try await running.waitForOutput("the run stands still")
        let process = String(decoding: try directory.read("pid"), as: UTF8.self).trimmingCharacters(in: .newlines)
        try await Program("prlimit").runSuccessfully(["--pid", process, "--fsize=unlimited"])
        if byKey { await running.write("\n") } else { _ = kill(try #require(pid_t(process)), SIGUSR2) }
        let result = try await running.wait()
        #expect(result.exitCode == 0, "\(result)")
        #expect(result.standardOutput.contains("going on"))
        try await Program.qemuIMG.runSuccessfully([
            "convert", "-O", "raw", directory.file("copy.qcow2").string, directory.file("copy.raw").string,
        ])
        #expect(haveSameBytes(try directory.read("copy.raw"), disk))
    }

    @Test(
        "without a terminal, a run that nobody could resume gives up, and says so",
        arguments: ["--on-target-error=stop", "--on-target-error=enospc"])
    func stopWithoutTerminal(option: String) async throws {
        let directory = try TemporaryDirectory()
        _ = try makeDisk(in: directory)
        let program = try #require(Program.qcowbackup.path?.string)
        // The file system has room for half of it.
        let script = "mount -t tmpfs -o size=4m none \"$1\"; shift; exec \"$0\" \"$@\""
        let target = directory.file("full").string
        try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: false)
        let result = try await Program("unshare").run([
            "-rm", "bash", "-c", script, program, target, option, "-f", "raw", directory.file("disk.raw").string,
            target + "/copy.qcow2",
        ])
        #expect(result.exitCode == 1, "\(result)")
        #expect(result.standardError.contains("\(option) did not stop: there is no terminal"), "\(result)")
        #expect(result.standardError.split(separator: "\n").count == 1, "\(result)")
    }

    @Test("--speed holds back, and a run that is held back can be paused and cancelled")
    func speed() async throws {
        let directory = try TemporaryDirectory()
        _ = try makeDisk(in: directory)
        let arguments = ["-f", "raw", directory.file("disk.raw").string, directory.file("copy.qcow2").string]
        let result = try await Program.qcowbackup.run(["--speed=8M", "--output=json"] + arguments)
        let summary = try JSONDecoder().decode(Summary.self, from: Data(result.outputBytes))
        // 8 MiB at 8 MiB a second, of which the first tenth comes at once.
        #expect(summary.seconds > 0.7, "\(result)")

        let slow = try Program.qcowbackup.start(["--speed=1K", "--force", "--progress=json"] + arguments)
        try await slow.waitForOutput("\"type\":\"progress\"")
        slow.signal(SIGUSR2)
        try await slow.waitForOutput("paused")
        slow.signal(SIGINT)
        let cancelled = try await slow.wait()
        #expect(cancelled.exitCode == 130, "\(cancelled)")
    }
}
