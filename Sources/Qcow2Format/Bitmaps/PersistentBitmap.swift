// SPDX-License-Identifier: GPL-2.0-or-later

/// What an image says about one of its persistent bitmaps.
public struct PersistentBitmap: Sendable, Equatable {
    /// As it is stored; what is no text becomes replacement characters. It may hold anything: see to it before a terminal
    /// does.
    public let name: String
    /// Bytes that one bit stands for.
    public let granularity: UInt64
    /// The `auto` flag: whoever writes to the disk must record it. Says nothing where there is a defect.
    public let isRecording: Bool
    /// Why the bitmap can't be relied on; `nil` where it can.
    public let defect: BitmapDefect?

    init(_ entry: BitmapDirectoryEntry) {
        name = entry.name
        granularity = 1 << UInt64(entry.granularityBits)
        isRecording = entry.flags.contains(.auto)
        defect = entry.defect
    }
}
