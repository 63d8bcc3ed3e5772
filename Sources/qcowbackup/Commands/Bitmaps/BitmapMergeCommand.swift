// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import BackupService
import DiskChain
import Qcow2Format

/// `qcowbackup bitmap merge IMAGE BITMAP SOURCE...`
struct BitmapMergeCommand: BitmapActionCommand {
    static let configuration = CommandConfiguration(
        commandName: "merge", abstract: "Make dirty in BITMAP whatever is dirty in the SOURCE bitmaps.")

    @OptionGroup var options: BitmapOptions

    @Argument(help: ArgumentHelp("Name of the bitmap that is changed.", valueName: "BITMAP"))
    var name: String

    @Argument(help: ArgumentHelp("Names of the bitmaps that are merged into it; they stay.", valueName: "SOURCE"))
    var sources: [String]

    @Option(
        name: .customShort("b"),
        help: ArgumentHelp("The image that has the SOURCE bitmaps, of a disk of the same length.", valueName: "image"),
        completion: .file())
    var sourceImage: String?

    @Option(
        name: .customShort("F", allowingJoined: true),
        help: ArgumentHelp("Format of the image given with -b: only qcow2 has bitmaps.", valueName: "format"))
    var sourceFormat: ImageFormat = .qcow2

    func validate() throws {
        if sourceFormat != .qcow2 {
            throw ValidationError("-F \(sourceFormat.rawValue): only qcow2 images have bitmaps")
        }
        if let sourceImage { try LocationCheck.check(sourceImage, named: "-b") }
    }

    var request: BitmapRequest {
        BitmapRequest(image: options.image, action: .merge(sources, image: sourceImage, into: name))
    }
}
