// SPDX-License-Identifier: GPL-2.0-or-later

import DiskChain
import Qcow2Format

/// What is known of one image file, without its disk being read.
package struct ImageReport: Sendable {
    /// What only qcow2 images have.
    package struct Qcow2: Sendable {
        package var facts: Qcow2Facts
        package var snapshots: [Snapshot] = []
        package var bitmaps: [PersistentBitmap] = []
        /// `nil` for an image that LUKS doesn't encrypt, or whose encryption header is broken.
        package var luks: LUKSHeader?
        /// As recorded; `nil` where none is named.
        package var dataFileName: String?
        package var hasDataFile = false
        /// Which backup it is, and which one it goes on; `nil` where the image says nothing of that.
        package var identity: BackupIdentity?
    }

    package var path: String
    package var format: ImageFormat
    /// Bytes of the disk.
    package var virtualSize: UInt64
    /// Bytes that the file takes; `nil` where that can't be found out.
    package var actualSize: UInt64?
    /// As recorded; `nil` for an image that stands alone.
    package var backingFileName: String?
    /// The same, from the working folder on.
    package var fullBackingFileName: String?
    /// `nil` where the image records none.
    package var backingFormat: String?
    /// `nil` for a raw disk.
    package var qcow2: Qcow2?
    /// Whether the file's head is blank although something follows, as in a target that was not finished.
    package var hasBlankHead = false
    /// What proves it; `nil` where no manifest lies beside it.
    package var manifest: ManifestReport?
    /// Whether it is what a run of this program was writing when it was interrupted, or still is.
    package var isUnfinished = false
}

/// What is known of an image, or of a chain of them.
package struct InfoReport: Sendable {
    /// The top one first.
    package var images: [ImageReport]
    /// Why some of what there is could not be told; the rest is told all the same.
    package var problems: [ServiceError]
}
