// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore
import BackupManifest
import DiskChain
import Qcow2Format

/// What to back up, where to, and how.
package struct BackupRequest: Sendable {
    /// How a backup names the file that it is based on.
    package enum BackingName: String, Sendable, CaseIterable {
        /// Relative to itself for an increment whose parent lies in its folder or below, absolute for all else.
        case auto
        case absolute
        /// Relative to itself.
        case relative
    }

    /// What to do about a target that exists.
    package enum ExistingTarget: Sendable {
        case refuse
        /// Replace it, once the new backup is on stable storage.
        case replace
        /// Write into it as it is: `-n`.
        case reuse
    }

    /// When to have the kernel copy, or share, the blocks.
    package enum CopyRange: String, Sendable, CaseIterable {
        /// Where the file system is known to share blocks or to copy on its server.
        case auto
        /// Wherever the kernel can.
        case on
        case off
    }

    package var source: String
    package var target: String
    /// Which part of the source is copied. Of `top`, the target gets the source's backing file as its own; `incremental` and
    /// `bitmap` go on top of `parent`. There is no guest here that `none` could follow.
    package var sync = SyncMode.full
    /// Format of the source; `nil` recognises it by its magic number.
    package var sourceFormat: ImageFormat?
    /// Name of the source's persistent bitmap to work by, or to start anew with a full backup; `nil` for none.
    package var bitmap: String?
    /// `nil` for what the sync mode implies.
    package var bitmapMode: BitmapMode?
    /// Make the bitmap where there is none, and replace one that can't be relied on: for full and top.
    package var createsBitmap = false
    /// Bytes that a bit of the bitmap stands for; `nil` for any, and for a usual one where it is made.
    package var granularity: UInt64?
    /// The backup that an increment goes on: the target's backing file.
    package var parent: String?
    /// `nil` for qcow2: it is never recognised, as that of no backing file.
    package var parentFormat: ImageFormat?
    /// The folder where the files are that the parent and its chain name, and the parent itself where it isn't at its
    /// path; `nil` for where they say.
    package var chainFolder: String?
    package var backingName = BackingName.auto
    /// Where the bitmap or the parent can't be relied on, make a full backup instead of an increment, and start the bitmap
    /// anew.
    package var fallsBackToFull = false
    /// Whether someone is there to resume a run that stands still; else a policy that would stop it gives it up.
    package var canBeResumed = true
    /// Format of backing files that record none; `nil` refuses them.
    package var backingFormat: ImageFormat?
    package var targetFormat = ImageFormat.qcow2
    /// `-o` options of the target, in order, as given: `cluster_size=64k`.
    package var targetOptions: [String] = []
    /// `nil` stores clusters as they are.
    package var compression: CompressionSettings?
    /// Name or id of the internal snapshot to read instead of the active state.
    package var snapshot: String?
    /// Read the source although another process writes to it.
    package var forceShare = false
    package var existingTarget = ExistingTarget.refuse
    /// Take the files of a chain for what they are named, whatever they say of themselves.
    package var trustsChain = false
    /// Have the target say which backup it is: not for a disk that is made of one.
    var isBackup = true
    /// Leave the unfinished target where a run fails.
    package var keepPartial = false
    package var copyRange = CopyRange.auto
    /// How the content is digested for the manifest; `nil` for no manifest.
    package var digest: DigestAlgorithm? = .xxh3
    /// Where the manifest goes; `nil` for beside the target, and for none where that is a block device.
    package var manifest: String?
    /// Bytes to copy each second; 0 for no limit.
    package var speed: UInt64 = 0
    package var onSourceError = ErrorPolicy.report
    package var onTargetError = ErrorPolicy.report
    /// Parallel workers; `nil` chooses by the number of processors.
    package var workers: Int?

    package init(source: String, target: String) {
        self.source = source
        self.target = target
    }
}
