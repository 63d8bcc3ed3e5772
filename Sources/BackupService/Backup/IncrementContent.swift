// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps

/// Finds out what an increment must hold so that it, on top of its parent, shows the source.
///
/// That is what the bitmap marks, with three corrections. What lies past the end of a shorter parent reads as zeroes
/// through it, whatever the bitmap says: there, all is needed that may be something else. A disk that was shrunk and has
/// grown again lost what was behind its end, and no bitmap marks that: `ForgottenEnd`. And what is known to be zero in
/// both takes no room, not even that of a note.
struct IncrementContent {
    let source: any BlockDevice
    let parent: any BlockDevice

    /// - Parameter recorded: the bitmap, of the source's length.
    /// - Returns: what the increment must hold; and where the last content ends that need not be held, as the parent has
    ///   it: 0 for none.
    func find(
        from recorded: DirtyBitmap
    ) async throws(BlockError) -> (bits: DirtyBitmap, unmarkedEnd: UInt64) {
        var bits = recorded
        try await dropZeroes(from: &bits, recorded)
        let forgotten = try await ForgottenEnd(source: source, parent: parent, recorded: recorded).find()
        for range in forgotten.ranges { bits.set(range) }
        try await addGrowth(to: &bits)
        return (bits, forgotten.contentEnd)
    }

    private func dropZeroes(from bits: inout DirtyBitmap, _ recorded: DirtyBitmap) async throws(BlockError) {
        var walker = PairWalker(source, parent)
        var position: UInt64 = 0
        while let area = recorded.nextDirtyArea(from: position) {
            position = area.upperBound
            // Gathered, since only whole granules can be dropped.
            var zeroStart = area.lowerBound
            var known = area.lowerBound
            while known < area.upperBound {
                let pair = try await walker.next(at: known, end: area.upperBound, onlyOverZeroes: true)
                if !pair.isZeroInBoth {
                    bits.reset(zeroStart..<known)
                    zeroStart = known + pair.length
                }
                known += pair.length
            }
            bits.reset(zeroStart..<max(zeroStart, area.upperBound))
        }
    }

    private func addGrowth(to bits: inout DirtyBitmap) async throws(BlockError) {
        var walker = ExtentWalker(source)
        var position = min(parent.length, source.length)
        while position < source.length {
            let extent = try await walker.next(at: position, end: source.length)
            if !extent.readsAsZero { bits.set(position..<position + extent.length) }
            position += extent.length
        }
    }
}
