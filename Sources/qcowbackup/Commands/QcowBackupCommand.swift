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
}
