// SPDX-License-Identifier: GPL-2.0-or-later

/// A run of guest bytes that one layer of a chain determines in one way.
package struct MapEntry: Sendable, Equatable {
    /// First byte on the disk.
    package var start: UInt64
    /// In bytes.
    package var length: UInt64
    /// Layer: 0 is the top one. Where no layer has the bytes, the last one that was asked.
    package var depth: Int
    /// Whether a layer determines the content.
    package var isPresent: Bool
    /// Whether the run reads as zeroes for certain.
    package var isZero: Bool
    /// Whether there is something stored to be read.
    package var isData: Bool
    package var isCompressed: Bool
    /// Where the first byte is stored as it is; `nil` where it is not.
    package var offset: UInt64?
    /// Path of the file that `offset` is in.
    package var file: String?

    package init(
        start: UInt64, length: UInt64, depth: Int = 0, isPresent: Bool = false, isZero: Bool = false,
        isData: Bool = false, isCompressed: Bool = false, offset: UInt64? = nil, file: String? = nil
    ) {
        self.start = start
        self.length = length
        self.depth = depth
        self.isPresent = isPresent
        self.isZero = isZero
        self.isData = isData
        self.isCompressed = isCompressed
        self.offset = offset
        self.file = file
    }

    var end: UInt64 { start + length }

    /// Makes one run of two where `next` goes on as this one ends.
    mutating func absorb(_ next: MapEntry) -> Bool {
        guard hasSameStatus(as: next), file == next.file else { return false }
        // Offsets in files are below 2^63.
        if let offset, let other = next.offset, offset + length != other { return false }
        length += next.length
        return true
    }

    /// Whether both say the same of their bytes, but for where they are stored.
    func hasSameStatus(as other: MapEntry) -> Bool {
        depth == other.depth && isPresent == other.isPresent && isZero == other.isZero && isData == other.isData
            && isCompressed == other.isCompressed && (offset == nil) == (other.offset == nil)
    }
}
