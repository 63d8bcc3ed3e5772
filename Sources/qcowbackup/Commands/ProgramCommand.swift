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

/// The program as shell completion sees it: `backup`'s options are offered also where no command is named.
///
/// The parser's scripts know nothing of a default command. This one is never run; scripts are made from it.
struct CompletionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: QcowBackupCommand.configuration.commandName,
        version: QcowBackupCommand.configuration.version,
        subcommands: QcowBackupCommand.configuration.subcommands)

    /// The parser's option that asks for a script.
    static let option = "--generate-completion-script"

    @OptionGroup var backup: BackupCommand
}

/// The program as its manual page sees it: `backup`'s arguments and options are the program's own, because it runs where
/// no command is named. The other commands follow.
///
/// The parser's description knows nothing of a default command. This one is never run; the manual is made from it.
struct ManualCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: QcowBackupCommand.configuration.commandName,
        abstract: QcowBackupCommand.configuration.abstract,
        discussion: BackupHelp.discussion,
        version: QcowBackupCommand.configuration.version,
        subcommands: QcowBackupCommand.configuration.subcommands.filter { $0 != BackupCommand.self },
        defaultSubcommand: BackupCommand.self)

    /// The parser's option that asks for the description.
    static let option = "--experimental-dump-help"

    @OptionGroup var backup: BackupCommand
}

/// What the program prints when asked about itself.
enum HelpText {
    /// The text that a clean exit of the parser stands for.
    ///
    /// The program's own help is that of `backup`, which runs where no command is named: all its options are there.
    static func text(for error: any Error, of root: any ParsableCommand.Type, columns: Int) -> String {
        let text = root.fullMessage(for: error, columns: columns)
        let isProgramHelp = text == root.helpMessage(columns: columns)
        return isProgramHelp ? root.helpMessage(for: BackupCommand.self, columns: columns) : text
    }
}
