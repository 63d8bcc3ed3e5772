// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import BackupService
import DiskChain
import Qcow2Format

/// What all bitmap commands take.
struct BitmapOptions: ParsableArguments {
    @Argument(help: ArgumentHelp("A qcow2 image.", valueName: "IMAGE"), completion: .file())
    var image: String

    @Option(
        name: .customShort("f", allowingJoined: true),
        help: ArgumentHelp("Format of IMAGE: only qcow2 has bitmaps.", valueName: "format"))
    var format: ImageFormat = .qcow2

    @Option(
        help: ArgumentHelp(
            "Form of the result, warnings and errors.",
            discussion: "json: one object on standard output; warnings and errors are objects on standard error.",
            valueName: "form"))
    var output = OutputOptions.Output.human

    func validate() throws {
        try LocationCheck.check(image, named: "IMAGE")
        if format != .qcow2 { throw ValidationError("-f \(format.rawValue): only qcow2 images have bitmaps") }
    }
}

/// The value of `--granularity`: bytes with a unit, a power of two.
struct GranularityArgument: ExpressibleByArgument, Equatable {
    let bytes: UInt64

    init?(argument: String) {
        guard let size = ByteSize(parsing: argument), size.bytes.nonzeroBitCount == 1, size.bytes >= 512,
            size.bytes <= 2 << 30
        else { return nil }
        bytes = size.bytes
    }
}
