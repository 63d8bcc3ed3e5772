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
        var (sourceProbe, parentProbe) = (ZeroProbe(source), ZeroProbe(parent))
        var position: UInt64 = 0
        while let area = recorded.nextDirtyArea(from: position) {
            position = area.upperBound
            // Gathered, since only whole granules can be dropped.
            var zeroStart = area.lowerBound
            var known = area.lowerBound
            while known < area.upperBound {
                let (length, isZero) = try await sourceProbe.next(at: known, end: area.upperBound)
                let end = known + length
                // The source's answer may be long and the parent's short: it is used up before it is asked again.
                while known < end {
                    let below: (length: UInt64, isZero: Bool) =
                        isZero ? try await parentProbe.next(at: known, end: end) : (end - known, false)
                    if !below.isZero {
                        bits.reset(zeroStart..<known)
                        zeroStart = known + below.length
                    }
                    known += below.length
                }
            }
            bits.reset(zeroStart..<max(zeroStart, area.upperBound))
        }
        try await addGrowth(to: &bits, &sourceProbe)
        return bits
    }

    private func addGrowth(to bits: inout DirtyBitmap, _ probe: inout ZeroProbe) async throws(BlockError) {
        var position = min(parent.length, source.length)
        while position < source.length {
            let (length, isZero) = try await probe.next(at: position, end: source.length)
            if !isZero { bits.set(position..<position + length) }
            position += length
        }
    }
}
