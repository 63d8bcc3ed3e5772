// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps
import Qcow2Format

/// The persistent bitmaps of an image with all their bits, for comparison.
package struct BitmapState: Sendable, Equatable {
    package struct Bitmap: Sendable, Equatable {
        package var name: String
        package var granularity: UInt64
        package var isRecording: Bool
        package var defect: BitmapDefect?
        /// Dirty ranges in bytes, ascending; `nil` where the bits can't be relied on.
        package var areas: [Range<UInt64>]?

        package init(
            name: String, granularity: UInt64, isRecording: Bool, defect: BitmapDefect? = nil,
            areas: [Range<UInt64>]? = []
        ) {
            self.name = name
            self.granularity = granularity
            self.isRecording = isRecording
            self.defect = defect
            self.areas = areas
        }
    }

    package var bitmaps: [Bitmap]

    package init(_ bitmaps: [Bitmap] = []) {
        self.bitmaps = bitmaps
    }

    /// By name.
    package var sorted: BitmapState { BitmapState(bitmaps.sorted { $0.name < $1.name }) }

    /// Loads everything.
    package init(_ source: PersistentBitmaps) async throws(BlockError) {
        bitmaps = []
        for bitmap in source.list {
            let areas = bitmap.defect == nil ? try await source.load(bitmap.name).dirtyRanges() : nil
            bitmaps.append(
                Bitmap(
                    name: bitmap.name, granularity: bitmap.granularity, isRecording: bitmap.isRecording,
                    defect: bitmap.defect, areas: areas))
        }
    }

    package init(readingFrom file: any Storage) async throws(BlockError) {
        try await self.init(Qcow2File(file).openBitmaps())
    }
}

extension DirtyBitmap {
    /// Makes dirty what the ranges touch.
    package mutating func set(_ ranges: [Range<UInt64>]) {
        for range in ranges { set(range) }
    }
}
