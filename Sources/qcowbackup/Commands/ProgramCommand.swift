// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser

/// A command of this program: parsed first, then run, and its status is the exit code.
protocol ProgramCommand: ParsableCommand {
    func run(in environment: ProgramEnvironment) -> ProgramStatus
}

/// What a command reaches of the world around it.
struct ProgramEnvironment {
    var console = Console()
    /// Makes the backup that `backup` runs.
    var makeBackup = RunningBackup.init(_:warn:)
    /// Makes what `restore` runs.
    var makeRestore = RunningBackup.init(restoring:warn:)
    /// Ends the process at once.
    var abandon: (ProgramStatus) -> Void
}
