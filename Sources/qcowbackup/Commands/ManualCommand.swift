// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser

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
