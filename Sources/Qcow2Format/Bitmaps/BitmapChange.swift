// SPDX-License-Identifier: GPL-2.0-or-later

import DirtyBitmaps

/// A change to the persistent bitmaps of an image. Bitmaps are named as `PersistentBitmap.name` says.
package enum BitmapChange: Sendable {
    /// A new bitmap, all clean.
    ///
    /// - Parameters:
    ///   - granularity: bytes that a bit stands for, a power of two from 512 B to 2 GiB; `nil` for the size of a cluster
    ///     within 4 to 64 KiB.
    ///   - isRecording: whether writes to the disk are to be recorded from now on.
    case add(name: String, granularity: UInt64?, isRecording: Bool)
    case remove(name: String)
    /// Notes since which backup the bitmap counts; `nil` where that is not known. What is noted of a bitmap is forgotten
    /// when it is added, removed or cleared.
    case setOrigin(name: String, BitmapOrigin?)
    /// Makes everything clean.
    case clear(name: String)
    /// Starts or stops the recording of writes; the bits stay. That it was disabled is noted with since when it counts.
    case setRecording(name: String, Bool)
    /// Makes dirty whatever is dirty in other bitmaps of the image.
    case merge(sources: [String], into: String)
    /// Makes dirty whatever is dirty in a bitmap of a disk of the same length.
    case mergeBits(DirtyBitmap, into: String)
    /// Replaces the bits by those of a bitmap of the same granularity and length, and takes the mark off that
    /// `markInUse` set.
    case store(DirtyBitmap, as: String)
    /// Declares that the stored bits are no longer kept up to date. To be on the disk before the first change of the disk
    /// that is recorded in memory only; a bitmap that keeps the mark is inconsistent for whoever opens the image next.
    case markInUse(name: String)
    /// Takes the mark off that `markInUse` set, where nothing has been written since.
    case unmarkInUse(name: String)
}
