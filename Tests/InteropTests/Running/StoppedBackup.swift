// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import SystemPackage
import TestSupport

/// A run of the program that is held up at its first flush of the target, when it has opened everything.
struct StoppedBackup {
    private let running: RunningProgram

    /// - Parameter target: what the target is called while it is written.
    init(_ arguments: [String], target: FilePath) async throws {
        running = try Program.strace.start(
            [
                "-f", "-P", target.string, "-e", "trace=fsync,fdatasync", "-e",
                "inject=fsync,fdatasync:signal=SIGSTOP:when=1",
                Program.qcowbackup.path?.string ?? "",
            ] + arguments)
        try await running.waitForOutput("stopped by SIGSTOP")
    }

    /// Lets it run to its end.
    func goOn() async throws -> ProgramResult {
        // strace counts the calls of each thread for itself, so others may yet stop the program at theirs. The program is
        // in the group of strace, which doesn't mind the signal, and neither does a program that runs.
        let group = -running.processID
        let waking = Task {
            repeat { _ = kill(group, SIGCONT) } while (try? await Task.sleep(for: .milliseconds(50))) != nil
        }
        defer { waking.cancel() }
        return try await running.wait()
    }
}
