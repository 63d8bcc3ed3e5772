// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import DiskChain
import Qcow2Format

/// How a backup and the files that it is based on are found and opened.
struct ChainOptions: ParsableArguments {
    @Option(
        name: .customLong("chain"),
        help: ArgumentHelp(
            "The folder to which the files of the chain were moved. (default: where the files say)",
            discussion: """
                Each backing file and data file is then looked for there, by the last part of the name that an image \
                records, and nowhere else. BACKUP itself is where its path says.
                """,
            valueName: "folder"),
        completion: .directory)
    var folder: String?

    @Option(
        name: .customShort("f", allowingJoined: true),
        help: ArgumentHelp(
            "Format of BACKUP. (default: qcow2)",
            discussion: "Not guessed: a backup that was never finished would be taken for a raw disk.",
            valueName: "format"))
    var format: ImageFormat?

    @Option(
        name: .customShort("F", allowingJoined: true),
        help: ArgumentHelp(
            "Format of backing files whose format no image records.",
            discussion: """
                Never guessed: a guest could write a qcow2 header into a raw disk and so have other files read.
                """,
            valueName: "format"))
    var backingFormat: ImageFormat?

    @Flag(
        name: .customLong("trust-chain"),
        help: ArgumentHelp(
            "Take the files of the chain for the right ones, whatever they say of themselves.",
            discussion: """
                Each increment names the backup that it was made on. Where another one has that file's name by now, the \
                disk that they show together never was.
                """))
    var trustsChain = false

    func validate() throws {
        if let folder, folder.isEmpty { throw ValidationError("--chain takes the name of a folder") }
    }
}
