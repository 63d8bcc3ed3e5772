// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import DiskChain
import Qcow2Format

/// How an image that is looked at is opened.
struct ImageOptions: ParsableArguments {
    @Argument(help: ArgumentHelp("An image file or a block device.", valueName: "IMAGE"), completion: .file())
    var image: String

    @Option(
        name: .customShort("f", allowingJoined: true),
        help: ArgumentHelp("Format of IMAGE; recognised if not given.", valueName: "format"))
    var format: ImageFormat?

    @Option(
        name: [.customShort("F", allowingJoined: true), .customLong("backing-format")],
        help: ArgumentHelp("Format of backing files whose format no image records.", valueName: "format"))
    var backingFormat: ImageFormat?

    @Flag(
        name: [.customShort("U"), .customLong("force-share")],
        help: "Read IMAGE although another process writes to it: what is shown may be changing.")
    var forceShare = false

    func validate() throws {
        try LocationCheck.check(image, named: "IMAGE")
    }
}
