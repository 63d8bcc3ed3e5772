// SPDX-License-Identifier: GPL-2.0-or-later

import Qcow2Format

/// The persistent bitmaps of an image.
package struct BitmapReport: Sendable, Equatable {
    package struct Bitmap: Sendable, Equatable {
        package var name: String
        /// Bytes that one bit stands for.
        package var granularity: UInt64
        package var isRecording: Bool
        /// Why the bitmap can't be relied on; `nil` where it can.
        package var defect: BitmapDefect?
        /// Bytes that are dirty, the last granule counted as a whole one; `nil` where that is not known.
        package var dirtyLength: UInt64?

        package init(
            name: String, granularity: UInt64, isRecording: Bool, defect: BitmapDefect? = nil,
            dirtyLength: UInt64? = nil
        ) {
            self.name = name
            self.granularity = granularity
            self.isRecording = isRecording
            self.defect = defect
            self.dirtyLength = dirtyLength
        }
    }

    package var image: String
    /// In the order of the image.
    package var bitmaps: [Bitmap]

    package init(image: String, bitmaps: [Bitmap]) {
        self.image = image
        self.bitmaps = bitmaps
    }
}
