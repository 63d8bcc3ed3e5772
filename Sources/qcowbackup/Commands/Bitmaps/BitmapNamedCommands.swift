// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import BackupService

// The commands that take an image and the name of a bitmap, and nothing else.

/// `qcowbackup bitmap remove IMAGE BITMAP`
struct BitmapRemoveCommand: BitmapActionCommand {
    static let configuration = CommandConfiguration(
        commandName: "remove", abstract: "Remove a bitmap, also an inconsistent one.")

    @OptionGroup var options: BitmapOptions

    @Argument(help: ArgumentHelp("Name of the bitmap.", valueName: "BITMAP"))
    var name: String

    var request: BitmapRequest { BitmapRequest(image: options.image, action: .remove(name)) }
}

/// `qcowbackup bitmap clear IMAGE BITMAP`
struct BitmapClearCommand: BitmapActionCommand {
    static let configuration = CommandConfiguration(
        commandName: "clear", abstract: "Make everything clean: what was dirty is forgotten.")

    @OptionGroup var options: BitmapOptions

    @Argument(help: ArgumentHelp("Name of the bitmap.", valueName: "BITMAP"))
    var name: String

    var request: BitmapRequest { BitmapRequest(image: options.image, action: .clear(name)) }
}

/// `qcowbackup bitmap enable IMAGE BITMAP`
struct BitmapEnableCommand: BitmapActionCommand {
    static let configuration = CommandConfiguration(
        commandName: "enable", abstract: "Record writes from now on; what is dirty stays so.",
        discussion: """
            What was written while the bitmap was disabled is not in it. If it was one that backups are made by, the next \
            increment by it is refused: --fallback=full starts anew.
            """)

    @OptionGroup var options: BitmapOptions

    @Argument(help: ArgumentHelp("Name of the bitmap.", valueName: "BITMAP"))
    var name: String

    var request: BitmapRequest { BitmapRequest(image: options.image, action: .enable(name)) }
}

/// `qcowbackup bitmap disable IMAGE BITMAP`
struct BitmapDisableCommand: BitmapActionCommand {
    static let configuration = CommandConfiguration(
        commandName: "disable", abstract: "Record no writes from now on; what is dirty stays so.")

    @OptionGroup var options: BitmapOptions

    @Argument(help: ArgumentHelp("Name of the bitmap.", valueName: "BITMAP"))
    var name: String

    var request: BitmapRequest { BitmapRequest(image: options.image, action: .disable(name)) }
}
