// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// Which parts of a disk are dirty, one bit for each granule.
///
/// Ranges are bytes; what lies past the end of the disk is ignored. The last granule may be short. Searches keep no
/// state, so a loop over dirty areas survives any change between its steps. Memory is at most one bit for each granule
/// and some per cent more; stretches of equal bits cost next to nothing. A copy takes no time, and memory for what
/// changes afterwards.
///
/// - Complexity: the time of each operation grows with the logarithm of the disk's length; over ranges also with the
///   number of 32768-granule pages in it that are neither all dirty nor all clean.
package struct DirtyBitmap: Sendable {
    package static let minimumGranularity: UInt64 = 512
    package static let maximumGranularity: UInt64 = 2 << 30

    /// Length of the disk in bytes.
    package let length: UInt64
    /// Bytes that one bit stands for.
    package let granularity: UInt64

    private let granularityBits: UInt64
    private let granules: UInt64
    private var tree: BitmapTree

    /// A bitmap that is all clean.
    ///
    /// - Parameters:
    ///   - length: length of the disk in bytes.
    ///   - granularity: bytes that one bit stands for: a power of two from 512 B to 2 GiB.
    /// - Throws: `DirtyBitmapError.invalidGranularity`.
    package init(length: UInt64, granularity: UInt64) throws(DirtyBitmapError) {
        guard
            granularity.nonzeroBitCount == 1, granularity >= Self.minimumGranularity,
            granularity <= Self.maximumGranularity
        else { throw .invalidGranularity(granularity) }
        self.length = length
        self.granularity = granularity
        granularityBits = UInt64(granularity.trailingZeroBitCount)
        granules = length.dividedRoundingUp(by: granularity)
        tree = .uniform(false)
    }

    /// A clean bitmap of the same length and granularity.
    package func makeEmpty() -> DirtyBitmap {
        var empty = self
        empty.resetAll()
        return empty
    }

    /// The granularity in bytes to choose for a disk whose clusters have so many bytes, 0 for none: the cluster size,
    /// but from 4 KiB to 64 KiB.
    package static func defaultGranularity(clusterSize: UInt64) -> UInt64 {
        guard clusterSize > 0 else { return 65536 }
        // Whatever a device says, a bitmap needs a power of two.
        let clamped = min(max(clusterSize, 4096), 65536)
        return clamped.nonzeroBitCount == 1 ? clamped : 65536
    }

    // MARK: Counting

    /// Memory in bytes that the bits take, without a constant: it depends on which are dirty.
    package var memoryUse: Int {
        tree.memoryUse
    }

    /// Number of dirty granules.
    package var dirtyGranules: UInt64 {
        tree.count(capacity: granules)
    }

    /// Bytes in the dirty granules, the last one counted as a whole one; `UInt64.max` where that doesn't fit.
    package var dirtyLength: UInt64 {
        dirtyGranules.multiplied(by: granularity) ?? .max
    }

    package var isEmpty: Bool {
        dirtyGranules == 0
    }

    // MARK: Changing

    /// Makes every granule that `range` touches dirty.
    package mutating func set(_ range: Range<UInt64>) {
        guard range.lowerBound < min(range.upperBound, length) else { return }
        let end = min(range.upperBound, length)
        assign(range.lowerBound >> granularityBits..<(end - 1) >> granularityBits + 1, to: true)
    }

    /// Makes every granule clean that lies wholly inside `range`. A short last granule is inside once its bytes are.
    ///
    /// Inward, so that nothing is forgotten that the range does not cover.
    package mutating func reset(_ range: Range<UInt64>) {
        guard range.lowerBound < min(range.upperBound, length) else { return }
        let first = range.lowerBound.dividedRoundingUp(by: granularity)
        let end = range.upperBound >= length ? granules : range.upperBound >> granularityBits
        if first < end { assign(first..<end, to: false) }
    }

    package mutating func setAll() {
        tree = .uniform(granules > 0)
    }

    package mutating func resetAll() {
        tree = .uniform(false)
    }

    /// Makes dirty whatever is dirty in `other`. A granule becomes dirty as a whole where only part of it was.
    ///
    /// - Throws: `DirtyBitmapError.lengthsDiffer`; nothing is changed then.
    package mutating func merge(_ other: DirtyBitmap) throws(DirtyBitmapError) {
        guard other.length == length else { throw .lengthsDiffer(length, other.length) }
        formUnion(other)
    }

    /// `merge` for a bitmap that is known to describe a disk of the same length.
    package mutating func formUnion(_ other: DirtyBitmap) {
        precondition(other.length == length, "bitmaps of different disks")
        if other.granularity == granularity {
            tree.formUnion(other.tree, capacity: granules)
            return
        }
        var offset: UInt64 = 0
        while let area = other.nextDirtyArea(from: offset) {
            set(area)
            // Up to there everything is dirty by now, however finely the other one tells.
            offset = area.upperBound.alignedUp(to: granularity) ?? .max
        }
    }

    private mutating func assign(_ range: Range<UInt64>, to value: Bool) {
        tree.assign(range, to: value, capacity: granules)
    }

    // MARK: Asking

    /// Whether the byte at `offset` lies in a dirty granule. Past the end nothing is dirty.
    package func isDirty(at offset: UInt64) -> Bool {
        offset < length && tree.contains(offset >> granularityBits)
    }

    /// Whether any byte of `range` lies in a dirty granule.
    package func hasDirty(in range: Range<UInt64>) -> Bool {
        nextDirty(from: range.lowerBound, limit: range.upperBound) != nil
    }

    /// The first byte from `start` on, and before `limit`, that lies in a dirty granule.
    package func nextDirty(from start: UInt64, limit: UInt64 = .max) -> UInt64? {
        next(true, from: start, limit: limit)
    }

    /// The first byte from `start` on, and before `limit`, that lies in a clean granule.
    package func nextClean(from start: UInt64, limit: UInt64 = .max) -> UInt64? {
        next(false, from: start, limit: limit)
    }

    /// The first run of dirty bytes from `start` on, cut off at `limit` and at the end of the disk.
    package func nextDirtyArea(from start: UInt64, limit: UInt64 = .max) -> Range<UInt64>? {
        guard let first = nextDirty(from: start, limit: limit) else { return nil }
        let limit = min(limit, length)
        return first..<(nextClean(from: first, limit: limit) ?? limit)
    }

    /// All runs of dirty bytes, in order.
    package func dirtyRanges() -> [Range<UInt64>] {
        var ranges: [Range<UInt64>] = []
        while let area = nextDirtyArea(from: ranges.last?.upperBound ?? 0) { ranges.append(area) }
        return ranges
    }

    private func next(_ value: Bool, from start: UInt64, limit: UInt64) -> UInt64? {
        let limit = min(limit, length)
        guard start < limit else { return nil }
        guard let granule = tree.next(value, from: start >> granularityBits, capacity: granules) else { return nil }
        let offset = max(start, granule << granularityBits)
        return offset < limit ? offset : nil
    }
}

// MARK: Bits as they are stored

extension DirtyBitmap {
    /// Replaces bits by those in a buffer: bit 0 of its first byte is that of `granule`, and bits past the end of the disk
    /// are ignored.
    ///
    /// - Parameter granule: a multiple of 64.
    /// - Complexity: O(n) in the bytes.
    package mutating func replaceBits(from granule: UInt64, with bits: RawSpan) {
        precondition(granule.isMultiple(of: 64))
        var next = granule
        let end = min(granule + UInt64(bits.byteCount) * 8, granules)
        while next < end {
            let pageEnd = min((next >> BitmapPage.spanBits + 1) << BitmapPage.spanBits, end)
            let first = Int(next - granule) / 8
            let part = bits.extracting(first..<min(first + Int(pageEnd - next + 7) / 8, bits.byteCount))
            tree.replaceBits(next..<pageEnd, with: part, capacity: granules)
            next = pageEnd
        }
    }

    /// Copies bits into a buffer, the bit of `granule` to bit 0 of its first byte; bits past the end of the disk are 0.
    ///
    /// - Parameter granule: a multiple of 64.
    /// - Complexity: O(n) in the bytes.
    package func copyBits(from granule: UInt64, into bits: inout MutableRawSpan) {
        precondition(granule.isMultiple(of: 64))
        bits.withUnsafeMutableBytes { bytes in
            _ = bytes.initializeMemory(as: UInt8.self, repeating: 0)
        }
        var next = granule
        let end = min(granule + UInt64(bits.byteCount) * 8, granules)
        while next < end {
            let pageEnd = min((next >> BitmapPage.spanBits + 1) << BitmapPage.spanBits, end)
            tree.copyBits(next..<pageEnd, into: &bits, at: Int(next - granule) / 8, capacity: granules)
            next = pageEnd
        }
    }
}
