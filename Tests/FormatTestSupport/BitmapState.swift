// SPDX-License-Identifier: GPL-2.0-or-later

public import BlockIO
public import DirtyBitmaps
public import Qcow2Format

/// The persistent bitmaps of an image with all their bits, for comparison.
public struct BitmapState: Sendable, Equatable {
    public struct Bitmap: Sendable, Equatable {
        public var name: String
        public var granularity: UInt64
        public var isRecording: Bool
        public var defect: BitmapDefect?
        /// Dirty ranges in bytes, ascending; `nil` where the bits can't be relied on.
        public var areas: [Range<UInt64>]?

        public init(
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

    public var bitmaps: [Bitmap]

    public init(_ bitmaps: [Bitmap] = []) {
        self.bitmaps = bitmaps
    }

    /// By name.
    public var sorted: BitmapState { BitmapState(bitmaps.sorted { $0.name < $1.name }) }

    /// Loads everything.
    public init(_ source: PersistentBitmaps) async throws(BlockError) {
        bitmaps = []
        for bitmap in source.list {
            let areas = bitmap.defect == nil ? try await source.load(bitmap.name).dirtyRanges() : nil
            bitmaps.append(
                Bitmap(
                    name: bitmap.name, granularity: bitmap.granularity, isRecording: bitmap.isRecording,
                    defect: bitmap.defect, areas: areas))
        }
    }

    public init(readingFrom file: any StorageDevice) async throws(BlockError) {
        try await self.init(Qcow2File(file).openBitmaps())
    }
}

extension DirtyBitmap {
    /// Makes dirty what the ranges touch.
    public mutating func set(_ ranges: [Range<UInt64>]) {
        for range in ranges { set(range) }
    }
}
