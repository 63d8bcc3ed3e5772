// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps

/// Finds out what an increment must hold so that it, on top of its parent, shows the source.
///
/// That is what the bitmap marks, with two corrections. What lies past the end of a shorter parent reads as zeroes
/// through it, whatever the bitmap says: there, all is needed that may be something else. And what is known to be zero in
/// both takes no room, not even that of a note.
struct IncrementContent {
    let source: any BlockDevice
    let parent: any BlockDevice

    /// - Parameter recorded: the bitmap, of the source's length.
    func bits(from recorded: DirtyBitmap) async throws(BlockError) -> DirtyBitmap {
        var bits = recorded
        var position: UInt64 = 0
        while let area = recorded.nextDirtyArea(from: position) {
            try await dropZeroes(in: area, from: &bits)
            position = area.upperBound
        }
        try await addGrowth(to: &bits)
        return bits
    }

    private func dropZeroes(in area: Range<UInt64>, from bits: inout DirtyBitmap) async throws(BlockError) {
        // Gathered, since only whole granules can be dropped.
        var zeroStart = area.lowerBound
        var position = area.lowerBound
        while position < area.upperBound {
            let (length, isZero) = try await status(at: position, length: area.upperBound - position)
            if !isZero {
                bits.reset(zeroStart..<position)
                zeroStart = position + length
            }
            position += length
        }
        bits.reset(zeroStart..<max(zeroStart, area.upperBound))
    }

    private func addGrowth(to bits: inout DirtyBitmap) async throws(BlockError) {
        var position = min(parent.length, source.length)
        while position < source.length {
            let extent = try await source.blockStatus(at: position, length: source.length - position, in: .chain)
            let end = position + extent.length
            if !extent.readsAsZero { bits.set(position..<end) }
            position = end
        }
    }

    /// How many bytes from `position` on are known to be zero in both, or not.
    private func status(
        at position: UInt64, length: UInt64
    ) async throws(BlockError) -> (length: UInt64, isZero: Bool) {
        let extent = try await source.blockStatus(at: position, length: length, in: .chain)
        guard extent.readsAsZero, position < parent.length else { return (extent.length, extent.readsAsZero) }
        let below = try await parent.blockStatus(
            at: position, length: min(extent.length, parent.length - position), in: .chain)
        return (below.length, below.readsAsZero)
    }
}
