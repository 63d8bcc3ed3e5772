// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import SystemPackage
import TestSupport

/// A run of the program that is held up at its first flush, when it has opened everything.
struct StoppedBackup {
    private let running: RunningProgram

    init(_ arguments: [String]) async throws {
        running = try Program.strace.start(
            [
                "-f", "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:signal=SIGSTOP:when=1",
                Program.qcowbackup.path?.string ?? "",
            ] + arguments)
        try await running.waitForOutput("stopped by SIGSTOP")
    }

    /// Lets it run to its end.
    func goOn() async throws -> ProgramResult {
        // The program is in the group of strace, and strace doesn't mind.
        _ = kill(-running.processID, SIGCONT)
        return try await running.wait()
    }
}
