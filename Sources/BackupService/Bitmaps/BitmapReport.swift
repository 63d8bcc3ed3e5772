// SPDX-License-Identifier: GPL-2.0-or-later

public import Qcow2Format

/// The persistent bitmaps of an image.
public struct BitmapReport: Sendable, Equatable {
    public struct Bitmap: Sendable, Equatable {
        public var name: String
        /// Bytes that one bit stands for.
        public var granularity: UInt64
        public var isRecording: Bool
        /// Why the bitmap can't be relied on; `nil` where it can.
        public var defect: BitmapDefect?
        /// Bytes that are dirty, the last granule counted as a whole one; `nil` where that is not known.
        public var dirtyLength: UInt64?

        public init(
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

    public var image: String
    /// In the order of the image.
    public var bitmaps: [Bitmap]

    public init(image: String, bitmaps: [Bitmap]) {
        self.image = image
        self.bitmaps = bitmaps
    }
}
