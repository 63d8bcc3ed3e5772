// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import BackupService

/// `qcowbackup bitmap list IMAGE`
struct BitmapListCommand: BitmapActionCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Show the bitmaps of an image, and how much is dirty in each.")

    @OptionGroup var options: BitmapOptions

    @Flag(
        name: [.customShort("U"), .customLong("force-share")],
        help: "Read IMAGE although another process writes to it: its bitmaps then are marked in use.")
    var forceShare = false

    var request: BitmapRequest {
        var request = BitmapRequest(image: options.image, action: .list(countsDirty: true))
        request.forceShare = forceShare
        return request
    }

    func text(for report: BitmapReport) -> String { BitmapTable(report: report).description }
}
