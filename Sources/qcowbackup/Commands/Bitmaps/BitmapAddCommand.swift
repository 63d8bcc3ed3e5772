// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import BackupService

/// `qcowbackup bitmap add IMAGE BITMAP`
struct BitmapAddCommand: BitmapActionCommand {
    static let configuration = CommandConfiguration(
        commandName: "add", abstract: "Add a bitmap, all clean, that records writes from now on.")

    @OptionGroup var options: BitmapOptions

    @Argument(help: ArgumentHelp("Name of the bitmap.", valueName: "BITMAP"))
    var name: String

    @Option(
        name: [.customShort("g"), .customLong("granularity")],
        help: ArgumentHelp(
            """
            Bytes that one bit stands for: a power of two from 512 to 2G, with a unit. (default: a cluster, within 4K \
            and 64K)
            """,
            valueName: "size"))
    var granularity: GranularityArgument?

    @Flag(help: "Don't record writes before the bitmap is enabled.")
    var disabled = false

    var request: BitmapRequest {
        BitmapRequest(
            image: options.image, action: .add(name, granularity: granularity?.bytes, isRecording: !disabled))
    }
}
