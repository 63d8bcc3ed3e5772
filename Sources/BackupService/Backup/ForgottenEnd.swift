// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import DirtyBitmaps

/// Finds what a disk lost when it was shrunk and grown again: it is zero in the source, the parent has something there,
/// and the bitmap, whose bits went with the disk's end, doesn't mark it.
///
/// What was lost has no content behind it that the bitmap doesn't mark: whatever is there now was written since. So only
/// what lies behind the last unmarked content is compared, and that is looked for from the end: on most disks it is near
/// there, and few questions are asked.
struct ForgottenEnd {
    let source: any BlockDevice
    let parent: any BlockDevice
    /// Of the source's length.
    let recorded: DirtyBitmap

    /// Bytes at the end to look at first; then as many as before once more, and so on.
    private static let firstStep: UInt64 = 1 << 30
    /// The largest cluster that an image has. A parent's cluster that begins with content may end in stored zeroes.
    private static let largestCluster: UInt64 = 2 << 20
    private static let bufferLength: UInt64 = 64 << 10

    /// Where the increment must hold the source's zeroes, in order.
    func ranges() async throws(BlockError) -> [Range<UInt64>] {
        let end = min(source.length, parent.length)
        // A write fills up a whole cluster of the disk's image, of which it marks a part.
        let widened = try await widened()
        let start = try await endOfContent(before: end, outside: widened)
        // Were it not read, each increment would hold such a cluster anew.
        let readEnd = min(start.alignedUp(to: Self.largestCluster) ?? end, end)
        var ranges: [Range<UInt64>] = []
        var probe = PairProbe(source, parent)
        for area in Self.cleanAreas(start..<end, of: recorded) {
            var position = area.lowerBound
            while position < area.upperBound {
                let limit = position < readEnd ? min(area.upperBound, readEnd) : area.upperBound
                let (length, content) = try await probe.next(at: position, end: limit)
                let range = position..<position + length
                position = range.upperBound
                // Behind the last content that isn't marked, what is stored fills up such a cluster.
                guard content != .zeroInBoth else { continue }
                if content == .zeroOverContent, range.lowerBound < readEnd, try await isZero(range) { continue }
                if let last = ranges.last, last.upperBound == range.lowerBound {
                    ranges[ranges.count - 1] = last.lowerBound..<range.upperBound
                } else {
                    ranges.append(range)
                }
            }
        }
        return ranges
    }

    /// Where the last content ends outside of what is marked; 0 where there is none.
    private func endOfContent(
        before end: UInt64, outside marked: DirtyBitmap
    ) async throws(BlockError) -> UInt64 {
        var (end, step) = (end, Self.firstStep)
        while end > 0 {
            let start = end > step ? end - step : 0
            var found: UInt64?
            var probe = ZeroProbe(source)
            for area in Self.cleanAreas(start..<end, of: marked) {
                var position = area.lowerBound
                while position < area.upperBound {
                    let (length, isZero) = try await probe.next(at: position, end: area.upperBound)
                    position += length
                    if !isZero { found = position }
                }
            }
            if let found { return found }
            end = start
            step = step.multiplied(by: 2) ?? .max
        }
        return 0
    }

    /// What the bitmap marks, and the rest of each cluster of which it marks a part.
    private func widened() async throws(BlockError) -> DirtyBitmap {
        let clusterSize = try await source.clusterSize()
        guard clusterSize > recorded.granularity,
            var widened = try? DirtyBitmap(length: recorded.length, granularity: clusterSize)
        else { return recorded }
        widened.formUnion(recorded)
        return widened
    }

    /// The parts of a range that a bitmap doesn't mark, in order, found as they are asked for.
    private static func cleanAreas(
        _ range: Range<UInt64>, of bitmap: DirtyBitmap
    ) -> some Sequence<Range<UInt64>> {
        sequence(state: range.lowerBound) { (position: inout UInt64) -> Range<UInt64>? in
            guard let start = bitmap.nextClean(from: position, limit: range.upperBound) else { return nil }
            position = bitmap.nextDirty(from: start, limit: range.upperBound) ?? range.upperBound
            return start..<position
        }
    }

    /// Whether the parent's content is nothing but zeroes.
    private func isZero(_ range: Range<UInt64>) async throws(BlockError) -> Bool {
        var position = range.lowerBound
        while position < range.upperBound {
            let count = min(range.upperBound - position, Self.bufferLength)
            // At most the length of a buffer.
            let bytes = try await parent.contents(at: position, count: Int(count))
            guard bytes.span.bytes.isZero else { return false }
            position += count
        }
        return true
    }
}
