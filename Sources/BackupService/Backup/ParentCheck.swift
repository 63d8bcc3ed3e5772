// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps

/// Spot checks that a parent is the point in time from which a bitmap counts: what the bitmap doesn't mark must be the
/// same in the source and in the parent.
///
/// A wrong parent makes a disk that never was. Images say which backup they are, and bitmaps from which one they count, but
/// only where this program made the one and cleared the other, and neither tells that the disk was rolled back since. A few
/// places are compared, spread over the disk and others each time: enough to find another disk, or a backup from another
/// day, and too few to take time.
struct ParentCheck {
    let source: any BlockDevice
    let parent: any BlockDevice
    /// What has changed since the parent was made, as far as is known; of the source's length.
    let bits: DirtyBitmap

    /// Parts of the disk in which a place is compared.
    private static let partCount: UInt64 = 32
    /// Most bytes that are compared in one place.
    private static let placeLength: UInt64 = 64 << 10
    /// How many extents to look at in each part for one that holds data.
    private static let mostExtents = 16

    /// Offset of a byte that differs though the bitmap doesn't mark it; `nil` where none was found.
    ///
    /// - Throws: `BlockError` where the parent can't be read. What the source has to hide, the backup will find.
    func firstDifference() async throws(BlockError) -> UInt64? {
        let length = min(source.length, parent.length)
        let part = max(length / Self.partCount, 1)
        var start: UInt64 = 0
        while start < length {
            let end = length - start < 2 * part ? length : start + part
            let offset = start == 0 ? 0 : UInt64.random(in: start..<end) & ~4095
            if let place = try await place(in: max(offset, start)..<end), let found = try await difference(in: place) {
                return found
            }
            start = end
        }
        return nil
    }

    /// Offset of a byte that differs though the bitmap doesn't mark it, in all that some layers of the parent hold.
    ///
    /// Of a backup that was made of the same disk since the bitmap began, the bitmap marks all, but for what fills up a
    /// cluster: so little is read.
    ///
    /// - Parameter count: number of layers, the top ones.
    func firstDifference(inLayersAbove count: Int) async throws(BlockError) -> UInt64? {
        let length = min(source.length, parent.length)
        var walker = ExtentWalker(parent)
        var position: UInt64 = 0
        while let start = bits.nextClean(from: position, limit: length) {
            let end = bits.nextDirty(from: start, limit: length) ?? length
            position = start
            while position < end {
                let extent = try await walker.next(at: position, end: end)
                let isHeld = extent.isAllocated && extent.depth < count
                let extentEnd = position + extent.length
                while isHeld, position < extentEnd {
                    let place = position..<min(position + Self.placeLength, extentEnd)
                    if let found = try await difference(in: place) { return found }
                    position = place.upperBound
                }
                position = extentEnd
            }
        }
        return nil
    }

    /// Offset of a byte that differs though the bitmap doesn't mark it, in one place that ends there.
    func firstDifference(before end: UInt64) async throws(BlockError) -> UInt64? {
        var position = end - min(end, Self.placeLength)
        while let start = bits.nextClean(from: position, limit: end) {
            position = bits.nextDirty(from: start, limit: end) ?? end
            if let found = try await difference(in: start..<position) { return found }
        }
        return nil
    }

    /// A range that the bitmap doesn't mark and that holds data in either disk.
    private func place(in range: Range<UInt64>) async throws(BlockError) -> Range<UInt64>? {
        var position = range.lowerBound
        for _ in 0..<Self.mostExtents {
            guard let clean = bits.nextClean(from: position, limit: range.upperBound) else { return nil }
            let end = bits.nextDirty(from: clean, limit: range.upperBound) ?? range.upperBound
            guard let one = try? await source.blockStatus(at: clean, length: end - clean, in: .chain) else {
                return nil
            }
            let other = try await parent.blockStatus(at: clean, length: end - clean, in: .chain)
            let length = min(one.length, other.length)
            if !one.readsAsZero || !other.readsAsZero { return clean..<clean + min(length, Self.placeLength) }
            position = clean + length
            if position >= range.upperBound { return nil }
        }
        return nil
    }

    private func difference(in range: Range<UInt64>) async throws(BlockError) -> UInt64? {
        guard let one = try? await source.contents(at: range.lowerBound, count: range.count) else { return nil }
        let other = try await parent.contents(at: range.lowerBound, count: range.count)
        guard one != other, let index = one.indices.first(where: { one[$0] != other[$0] }) else { return nil }
        return range.lowerBound + UInt64(index)
    }
}
