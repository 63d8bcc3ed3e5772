// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import DiskChain
import Qcow2Format

/// What is copied, and how its images are opened.
struct SourceOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "Which part of SOURCE to copy.",
            discussion: """
                full: everything that the disk shows, backing files included; TARGET stands alone. \
                top: what the topmost image of the chain holds; TARGET gets SOURCE's backing file as its own. \
                A SOURCE without a backing file is copied in full either way. \
                incremental: what --bitmap marks, on top of the backup that -b names; success clears the bitmap. \
                bitmap: the same; --bitmap-mode says what becomes of the bitmap.
                """,
            valueName: "mode"))
    var sync: SyncArgument = .full

    @Option(
        name: .customShort("f", allowingJoined: true),
        help: ArgumentHelp("Format of SOURCE; recognised if not given.", valueName: "format"))
    var sourceFormat: ImageFormat?

    @Option(
        name: .customShort("F", allowingJoined: true),
        help: ArgumentHelp(
            "Format of the backing file: of PARENT with -b, else of SOURCE's where no image records it.",
            discussion: """
                Never guessed: a guest could write a qcow2 header into a raw disk and so have other files read. A PARENT \
                without -F is taken as qcow2. With -b, backing files whose format no image records are refused; \
                qemu-img rebase -u -F has it recorded.
                """,
            valueName: "format"))
    var backingFormat: ImageFormat?

    @Option(
        help: ArgumentHelp(
            "Read this internal snapshot of SOURCE, by name or id, instead of the active state.", valueName: "name"))
    var snapshot: String?

    @Flag(
        name: [.customShort("U"), .customLong("force-share")],
        help: ArgumentHelp(
            "Read SOURCE although another process writes to it.",
            discussion: """
                What is copied may then be torn, and nothing will say so. For a disk in use by a running guest, have its \
                QEMU take the backup.
                """))
    var forceShare = false

    func validate() throws {
        _ = try sync.mode()
        if let snapshot, snapshot.isEmpty {
            throw ValidationError("--snapshot takes a name or an id")
        }
    }
}
