// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import BackupService
import DiskChain
import Qcow2Format

/// What the target is, and what may happen to one that exists.
struct TargetOptions: ParsableArguments {
    @Option(
        name: .customShort("O", allowingJoined: true),
        help: ArgumentHelp(
            "Format of TARGET. (default: qcow2; restore writes raw onto a block device)", valueName: "format"))
    var format: ImageFormat?

    @Option(
        name: .customShort("o", allowingJoined: true),
        help: ArgumentHelp(
            "Properties of TARGET, such as cluster_size=128K,extended_l2=on. May be repeated; -o help lists them.",
            valueName: "options"))
    var lists: [TargetOptionList] = []

    @Flag(
        name: .customShort("n"),
        help: ArgumentHelp(
            "TARGET exists: write into it as it is, and create nothing.",
            discussion: """
                For block devices and for images made by other tools. Until all is written the start of TARGET is \
                blank, so that an unfinished one can't be taken for a disk.
                """))
    var reuses = false

    @Flag(
        name: .customLong("force"),
        help: ArgumentHelp(
            "Replace TARGET if it exists.",
            discussion: "The old file goes only once the new one is complete and on stable storage."))
    var replaces = false

    @Flag(
        name: .customLong("keep-partial"),
        help: "If the run fails, keep what was written, as TARGET.partial.")
    var keepPartial = false

    /// All `-o` options in order.
    var options: [String] {
        lists.flatMap(\.options)
    }

    private var existing: BackupRequest.ExistingTarget {
        reuses ? .reuse : replaces ? .replace : .refuse
    }

    /// Sets all but the format, which `restore` may choose by what the target is.
    func apply(to request: inout BackupRequest) {
        request.targetOptions = options
        request.existingTarget = existing
        request.keepPartial = keepPartial
    }

    func validate() throws {
        if reuses && replaces {
            throw ValidationError("-n writes into TARGET and --force replaces it: give one of them")
        }
    }
}
