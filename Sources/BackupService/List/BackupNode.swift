// SPDX-License-Identifier: GPL-2.0-or-later

public import FoundationEssentials
public import Qcow2Format

/// One image of a folder of backups, and where it stands among the others.
public struct BackupNode: Sendable {
    /// Where an image's backing file is.
    public enum Parent: Sendable, Equatable {
        /// The image stands alone.
        case none
        /// It is one of the folder's images: its index.
        case here(Int)
        /// It exists in another folder: its path. Nothing more is known of it.
        case outside(String)
        /// There is nothing at this path.
        case missing(String)
        /// What is recorded is no file that could be followed.
        case unusable
    }

    /// Without its folder.
    public let name: String
    public let path: String
    public internal(set) var format: ImageFormat
    /// Which backup it is; `nil` where neither the image nor its manifest says so.
    public internal(set) var id: String?
    /// Whether it is known to be a backup: by its header, or by a manifest beside it.
    public internal(set) var isBackup = false
    /// When the backup was complete, or else when the file was last written.
    public internal(set) var created: Date
    /// Whether the manifest says when it was made.
    public internal(set) var isDated = false
    /// `full`, `top`, `incremental` or `bitmap`; `nil` where that is not known.
    public internal(set) var sync: String?
    /// Bytes of the disk; `nil` where the image can't be read.
    public internal(set) var virtualSize: UInt64?
    /// Bytes of the file.
    public let length: UInt64
    /// Bytes that the file takes on its disk; `nil` where the system doesn't tell.
    public internal(set) var allocatedLength: UInt64?
    /// The backing file as the image records it.
    public internal(set) var parentName: String?
    /// Which backup the parent was when this one was made; `nil` where that is not known.
    public internal(set) var parentID: String?
    public internal(set) var parent = Parent.none
    public internal(set) var manifest = ManifestState.missing
    public internal(set) var proof = ProofRecord()
    /// Whether another program has announced that it writes to the file.
    public internal(set) var isInUse = false
    public internal(set) var problems: [BackupProblem] = []
    /// Number of images below it in this folder.
    public internal(set) var depth = 0
    /// Indices of the images that are based on it, in the order of time.
    public internal(set) var children: [Int] = []
    /// Whether nothing is known, of it and of all below it, that keeps the disk from being had from it.
    public internal(set) var isUsable = true

    init(_ entry: FolderEntry, format: ImageFormat) {
        name = entry.name
        path = entry.path
        created = entry.modified
        length = entry.length
        self.format = format
    }
}
