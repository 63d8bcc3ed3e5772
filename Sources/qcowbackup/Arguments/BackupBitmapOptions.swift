// SPDX-License-Identifier: GPL-2.0-or-later

import ArgumentParser
import BackupCore
import BackupService

/// The dirty bitmap that a backup works by or starts, and what an increment goes on.
struct BackupBitmapOptions: ParsableArguments {
    /// What to do about a bitmap that can't be relied on.
    enum Fallback: String, CaseIterable, ExpressibleByArgument {
        case none
        case full
    }

    @Option(
        help: ArgumentHelp(
            "A persistent dirty bitmap of SOURCE.",
            discussion: """
                With incremental and bitmap it says what is copied. With full and top it is cleared once TARGET is on \
                stable storage: a later increment goes on from there.
                """,
            valueName: "name"))
    var bitmap: String?

    @Option(
        name: .customLong("bitmap-mode"),
        help: ArgumentHelp(
            "What becomes of the bitmap. (default: on-success)",
            discussion: """
                never: it stays as it is, and the next backup has these changes too; SOURCE need not be writable. \
                on-success: it is cleared once TARGET is on stable storage. always: the same, since of a backup that \
                failed nothing is kept that changes could be left out for.
                """,
            valueName: "mode"))
    var bitmapMode: BitmapMode?

    @Flag(
        name: .customLong("create-bitmap"),
        help: ArgumentHelp(
            "With full and top: make the bitmap if there is none, and replace one that can't be relied on.",
            discussion: "So that one command starts a chain."))
    var createsBitmap = false

    @Option(
        help: ArgumentHelp(
            """
            Bytes that one bit of a new bitmap stands for: a power of two from 512 to 2G. A bitmap with another counts as \
            one that can't be relied on. (default: a cluster, within 4K and 64K)
            """,
            valueName: "size"))
    var granularity: GranularityArgument?

    @Option(
        name: [.customShort("b", allowingJoined: true)],
        help: ArgumentHelp(
            "The backup that an increment goes on; it becomes TARGET's backing file. -F says its format.",
            valueName: "PARENT"),
        completion: .file())
    var parent: String?

    @Option(
        name: .customLong("backing-name"),
        help: ArgumentHelp(
            "How TARGET records the name of what it is based on. (default: auto)",
            discussion: """
                auto: an increment names PARENT relative to itself where that lies in TARGET's folder or below, so that a \
                chain can be moved and copied as a whole; by its absolute name elsewhere, as with top. absolute, \
                relative: always so.
                """,
            valueName: "how"))
    var backingName: BackupRequest.BackingName?

    @Option(
        name: .customLong("chain"),
        help: ArgumentHelp(
            "The folder to which PARENT and the files that it is based on were moved. (default: where the files say)",
            discussion: """
                Each of them is then looked for there, by the last part of its recorded name; PARENT only where it isn't \
                at its path.
                """,
            valueName: "folder"),
        completion: .directory)
    var folder: String?

    @Flag(
        name: .customLong("trust-chain"),
        help: ArgumentHelp(
            "Take PARENT for the backup from which the bitmap counts, without a check.",
            discussion: """
                For backups that another program has copied or cleared the bitmap for. A wrong PARENT makes a disk that \
                never was.
                """))
    var trustsChain = false

    @Option(
        help: ArgumentHelp(
            "What to do where an increment is asked for and the bitmap or PARENT can't be relied on.",
            discussion: """
                The bitmap may be missing, damaged, marked in use by a program that crashed, disabled, or of another \
                --granularity; or the files behind SOURCE have changed, which it doesn't tell. PARENT may be missing, \
                broken, or not the backup from which the bitmap counts. none: give up. full: say why, make a full backup, \
                and start the bitmap anew; SOURCE must be writable. Where the list of SOURCE's bitmaps is damaged, the \
                backup is made, no bitmap is, and the exit code is 1.
                """,
            valueName: "mode"))
    var fallback = Fallback.none

    @Flag(
        name: .customLong("strict"),
        help: "Exit with 4 after a fallback, and with 5 where nothing had changed. TARGET is complete either way.")
    var isStrict = false

    func validate() throws {
        if let folder, folder.isEmpty { throw ValidationError("--chain takes the name of a folder") }
    }

    func apply(to request: inout BackupRequest) {
        request.bitmap = bitmap
        request.bitmapMode = bitmapMode
        request.createsBitmap = createsBitmap
        request.granularity = granularity?.bytes
        request.parent = parent
        request.backingName = backingName ?? .auto
        request.chainFolder = folder
        request.trustsChain = trustsChain
        request.fallsBackToFull = fallback == .full
    }
}
