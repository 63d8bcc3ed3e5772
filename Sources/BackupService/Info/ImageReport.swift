// SPDX-License-Identifier: GPL-2.0-or-later

public import Qcow2Format

/// What is known of one image file, without its disk being read.
public struct ImageReport: Sendable {
    /// What only qcow2 images have.
    public struct Qcow2: Sendable {
        public var facts: Qcow2Facts
        public var snapshots: [Snapshot] = []
        public var bitmaps: [PersistentBitmap] = []
        /// `nil` for an image that LUKS doesn't encrypt, or whose encryption header is broken.
        public var luks: LUKSHeader?
        /// As recorded; `nil` where none is named.
        public var dataFileName: String?
        public var hasDataFile = false
        /// Which backup it is, and which one it goes on; `nil` where the image says nothing of that.
        public var identity: BackupIdentity?
    }

    public var path: String
    public var format: ImageFormat
    /// Bytes of the disk.
    public var virtualSize: UInt64
    /// Bytes that the file takes; `nil` where that can't be found out.
    public var actualSize: UInt64?
    /// As recorded; `nil` for an image that stands alone.
    public var backingFileName: String?
    /// The same, from the working folder on.
    public var fullBackingFileName: String?
    /// `nil` where the image records none.
    public var backingFormat: String?
    /// `nil` for a raw disk.
    public var qcow2: Qcow2?
    /// Whether the file's head is blank although something follows, as in a target that was not finished.
    public var hasBlankHead = false
    /// What proves it; `nil` where no manifest lies beside it.
    public var manifest: ManifestReport?
    /// Whether it is what a run of this program was writing when it was interrupted, or still is.
    public var isUnfinished = false
}

/// What is known of an image, or of a chain of them.
public struct InfoReport: Sendable {
    /// The top one first.
    public var images: [ImageReport]
    /// Why some of what there is could not be told; the rest is told all the same.
    public var problems: [ServiceError]
}
