// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser

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
