// SPDX-License-Identifier: GPL-2.0-or-later

import DiskChain
import FoundationEssentials
import Qcow2Format

/// One image of a folder of backups, and where it stands among the others.
package struct BackupNode: Sendable {
    /// Where an image's backing file is.
    package enum Parent: Sendable, Equatable {
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
    package let name: String
    package let path: String
    package internal(set) var format: ImageFormat
    /// Which backup it is; `nil` where neither the image nor its manifest says so.
    package internal(set) var id: String?
    /// Whether it is known to be a backup: by its header, or by a manifest beside it.
    package internal(set) var isBackup = false
    /// When the backup was complete, or else when the file was last written.
    package internal(set) var created: Date
    /// Whether the manifest says when it was made.
    package internal(set) var isDated = false
    /// `full`, `top`, `incremental` or `bitmap`; `nil` where that is not known.
    package internal(set) var sync: String?
    /// Bytes of the disk; `nil` where the image can't be read.
    package internal(set) var virtualSize: UInt64?
    /// Bytes of the file.
    package let length: UInt64
    /// Bytes that the file takes on its disk; `nil` where the system doesn't tell.
    package internal(set) var allocatedLength: UInt64?
    /// The backing file as the image records it.
    package internal(set) var parentName: String?
    /// Which backup the parent was when this one was made; `nil` where that is not known.
    package internal(set) var parentID: String?
    package internal(set) var parent = Parent.none
    package internal(set) var manifest = ManifestState.missing
    package internal(set) var proof = ProofRecord()
    /// Whether another program has announced that it writes to the file.
    package internal(set) var isInUse = false
    package internal(set) var problems: [BackupProblem] = []
    /// Number of images below it in this folder.
    package internal(set) var depth = 0
    /// Indices of the images that are based on it, in the order of time.
    package internal(set) var children: [Int] = []
    /// Whether nothing is known, of it and of all below it, that keeps the disk from being had from it.
    package internal(set) var isUsable = true

    init(_ entry: FolderEntry, format: ImageFormat) {
        name = entry.name
        path = entry.path
        created = entry.modified
        length = entry.length
        self.format = format
    }
}
