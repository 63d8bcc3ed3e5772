// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import BackupService

/// The program as a whole.
struct QcowBackupCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "qcowbackup",
        abstract: "Back up qcow2 virtual disks, quickly and safely.",
        version: "qcowbackup \(ProgramVersion.current)",
        subcommands: [
            BackupCommand.self, RestoreCommand.self, VerifyCommand.self, ListCommand.self, BitmapCommand.self,
            InfoCommand.self, MapCommand.self, CompareCommand.self, CheckCommand.self,
        ],
        defaultSubcommand: BackupCommand.self)

    /// The command that stands behind options, where it is taken for a file to back up.
    static func misplacedCommand(in arguments: [String]) -> String? {
        guard arguments.first?.hasPrefix("-") == true else { return nil }
        let names = configuration.subcommands.compactMap { $0.configuration.commandName }
        return arguments.prefix { $0 != "--" }.first(where: names.contains)
    }
}
