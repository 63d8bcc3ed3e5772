// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import DirtyBitmaps

/// Finds what a disk lost when it was shrunk and grown again: it is zero in the source, the parent has something there,
/// and the bitmap, whose bits went with the disk's end, doesn't mark it.
///
/// What was lost has no content behind it that the bitmap doesn't mark: whatever is there now was written since. So only
/// what lies behind the last unmarked content is compared, and that is looked for from the end: on most disks it is near
/// there, and few questions are asked. A disk that was grown with room allocated in advance has stored zeroes there, as a
/// cluster has beside a part that was written: what is stored is read, but only where the parent has something as well.
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
    /// How many ranges to remember in one step.
    private static let mostRanges = 4096

    /// - Returns: where the increment must hold the source's zeroes, in order; and where the last content ends that isn't
    ///   marked, before all of them: in a good parent, it is the same.
    func find() async throws(BlockError) -> (ranges: [Range<UInt64>], contentEnd: UInt64) {
        let end = min(source.length, parent.length)
        let start = try await endOfContent(before: end)
        // Were it not read, each increment would hold such a cluster anew.
        let readEnd = min(start.alignedUp(to: Self.largestCluster) ?? end, end)
        var ranges: [Range<UInt64>] = []
        var walker = PairWalker(source, parent)
        for area in Self.cleanAreas(start..<end, of: recorded) {
            var position = area.lowerBound
            while position < area.upperBound {
                let limit = position < readEnd ? min(area.upperBound, readEnd) : area.upperBound
                let pair = try await walker.next(at: position, end: limit)
                let isStored = !pair.first.readsAsZero
                let holdsContent = pair.second?.readsAsZero == false
                let length = isStored && holdsContent ? min(pair.length, Self.bufferLength) : pair.length
                let range = position..<position + length
                position = range.upperBound
                guard holdsContent else { continue }
                if isStored || range.lowerBound < readEnd, try await isZero(range) { continue }
                Self.append(range, to: &ranges)
            }
        }
        return (ranges, start)
    }

    /// Where the last content ends that isn't marked; 0 where there is none.
    private func endOfContent(before end: UInt64) async throws(BlockError) -> UInt64 {
        var (end, step) = (end, Self.firstStep)
        while end > 0 {
            let start = end > step ? end - step : 0
            var stored: [Range<UInt64>] = []
            var isCut = false
            var walker = PairWalker(source, parent)
            for area in Self.cleanAreas(start..<end, of: recorded) {
                var position = area.lowerBound
                while position < area.upperBound {
                    let pair = try await walker.next(at: position, end: area.upperBound)
                    if !pair.first.readsAsZero, pair.second?.readsAsZero == false {
                        Self.append(position..<position + pair.length, to: &stored)
                    }
                    position += pair.length
                }
                if stored.count > Self.mostRanges {
                    stored.removeFirst(stored.count / 2)
                    isCut = true
                }
            }
            for range in stored.reversed() {
                if let found = await endOfData(in: range) { return found }
            }
            end = isCut ? stored[0].lowerBound : start
            step = isCut ? Self.firstStep : step.multiplied(by: 2) ?? .max
        }
        return 0
    }

    /// Where the last sector of the source ends that isn't zero; `nil` where all are. What can't be read may be anything.
    private func endOfData(in range: Range<UInt64>) async -> UInt64? {
        var end = range.upperBound
        while end > range.lowerBound {
            let start = end - min(end - range.lowerBound, Self.bufferLength)
            guard let bytes = try? await source.contents(at: start, count: Int(end - start)) else { return end }
            if !bytes.span.bytes.isZero, let index = bytes.lastIndex(where: { $0 != 0 }) {
                return min(end, (start + UInt64(index) + 1).alignedUp(to: 512) ?? end)
            }
            end = start
        }
        return nil
    }

    private static func append(_ range: Range<UInt64>, to ranges: inout [Range<UInt64>]) {
        if let last = ranges.last, last.upperBound == range.lowerBound {
            ranges[ranges.count - 1] = last.lowerBound..<range.upperBound
        } else {
            ranges.append(range)
        }
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
