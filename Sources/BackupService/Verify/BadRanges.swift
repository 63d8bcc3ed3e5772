// SPDX-License-Identifier: GPL-2.0-or-later

/// Bad ranges in the order of the disk, neighbours in one piece: a disk may have millions of them.
struct BadRanges {
    private(set) var list: [BadRange] = []

    /// Adds a range that overlaps none of those that are there.
    mutating func insert(_ range: BadRange) {
        // Most come behind the last one, or near it.
        var place = list.count
        while place > 0, list[place - 1].range.lowerBound > range.range.lowerBound { place -= 1 }
        var range = range
        if place < list.count, let joined = range.joined(with: list[place]) {
            range = joined
            list.remove(at: place)
        }
        if place > 0, let joined = list[place - 1].joined(with: range) {
            list[place - 1] = joined
        } else {
            list.insert(range, at: place)
        }
    }
}

extension BadRange {
    /// Both as one, where the other follows and is bad for the same reason.
    fileprivate func joined(with next: BadRange) -> BadRange? {
        guard range.upperBound == next.range.lowerBound, reason == next.reason, message == next.message else {
            return nil
        }
        return BadRange(range: range.lowerBound..<next.range.upperBound, reason: reason, message: message)
    }
}
