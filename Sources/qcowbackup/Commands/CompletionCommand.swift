// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser

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
