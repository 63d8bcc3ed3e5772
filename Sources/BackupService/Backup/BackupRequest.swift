// SPDX-License-Identifier: GPL-2.0-or-later

public import BackupManifest
public import Qcow2Format

/// What to back up, where to, and how.
public struct BackupRequest: Sendable {
    /// Which part of the source is copied.
    public enum Sync: String, Sendable, CaseIterable {
        /// Everything that the disk shows.
        case full
        /// What the top layer holds; the target gets the source's backing file as its own.
        case top
        /// What a bitmap of the source marks; the target goes on top of `parent`. Success clears the bitmap.
        case incremental
        /// As `incremental`; `bitmapMode` says what becomes of the bitmap.
        case bitmap

        /// Whether the target holds changes only, on top of an earlier backup.
        public var isIncrement: Bool { self == .incremental || self == .bitmap }
    }

    /// What becomes of the bitmap.
    public enum BitmapMode: String, Sendable, CaseIterable {
        /// It stays as it is: the next backup has these changes too.
        case never
        /// Cleared once the backup is on stable storage.
        case onSuccess = "on-success"
        /// As `onSuccess`: of a backup that failed nothing is left that changes could be left out for.
        case always
    }

    /// How a backup names the file that it is based on.
    public enum BackingName: String, Sendable, CaseIterable {
        /// Relative to itself for an increment whose parent lies in its folder or below, absolute for all else.
        case auto
        case absolute
        /// Relative to itself.
        case relative
    }

    /// What to do about a target that exists.
    public enum ExistingTarget: Sendable {
        case refuse
        /// Replace it, once the new backup is on stable storage.
        case replace
        /// Write into it as it is: `-n`.
        case reuse
    }

    /// When to have the kernel copy, or share, the blocks.
    public enum CopyRange: String, Sendable, CaseIterable {
        /// Where the file system is known to share blocks or to copy on its server.
        case auto
        /// Wherever the kernel can.
        case on
        case off
    }

    /// What to do when reading or writing fails while the backup is copied.
    public enum ErrorHandling: String, Sendable, CaseIterable {
        /// Give the backup up.
        case report
        /// On the source: go on without what can't be read. On the target: try again until it works.
        case ignore
        /// `stop` where there is no space, `report` for all else.
        case enospc
        /// Stand still until the backup is resumed, then try again.
        case stop
    }

    public var source: String
    public var target: String
    public var sync = Sync.full
    /// Format of the source; `nil` recognises it by its magic number.
    public var sourceFormat: ImageFormat?
    /// Name of the source's persistent bitmap to work by, or to start anew with a full backup; `nil` for none.
    public var bitmap: String?
    /// `nil` for what the sync mode implies.
    public var bitmapMode: BitmapMode?
    /// Make the bitmap where there is none, and replace one that can't be relied on: for full and top.
    public var createsBitmap = false
    /// Bytes that a bit of the bitmap stands for; `nil` for any, and for a usual one where it is made.
    public var granularity: UInt64?
    /// The backup that an increment goes on: the target's backing file.
    public var parent: String?
    /// `nil` for qcow2: it is never recognised, as that of no backing file.
    public var parentFormat: ImageFormat?
    /// The folder where the files are that the parent and its chain name, and the parent itself where it isn't at its
    /// path; `nil` for where they say.
    public var chainFolder: String?
    public var backingName = BackingName.auto
    /// Where the bitmap or the parent can't be relied on, make a full backup instead of an increment, and start the bitmap
    /// anew.
    public var fallsBackToFull = false
    /// Whether someone is there to resume a run that stands still; else a policy that would stop it gives it up.
    public var canBeResumed = true
    /// Format of backing files that record none; `nil` refuses them.
    public var backingFormat: ImageFormat?
    public var targetFormat = ImageFormat.qcow2
    /// `-o` options of the target, in order, as given: `cluster_size=64k`.
    public var targetOptions: [String] = []
    /// `nil` stores clusters as they are.
    public var compression: CompressionSettings?
    /// Name or id of the internal snapshot to read instead of the active state.
    public var snapshot: String?
    /// Read the source although another process writes to it.
    public var forceShare = false
    public var existingTarget = ExistingTarget.refuse
    /// Take the files of a chain for what they are named, whatever they say of themselves.
    public var trustsChain = false
    /// Have the target say which backup it is: not for a disk that is made of one.
    var isBackup = true
    /// Leave the unfinished target where a run fails.
    public var keepPartial = false
    public var copyRange = CopyRange.auto
    /// How the content is digested for the manifest; `nil` for no manifest.
    public var digest: DigestAlgorithm? = .xxh3
    /// Where the manifest goes; `nil` for beside the target, and for none where that is a block device.
    public var manifest: String?
    /// Bytes to copy each second; 0 for no limit.
    public var speed: UInt64 = 0
    public var onSourceError = ErrorHandling.report
    public var onTargetError = ErrorHandling.report
    /// Parallel workers; `nil` chooses by the number of processors.
    public var workers: Int?

    public init(source: String, target: String) {
        self.source = source
        self.target = target
    }
}
