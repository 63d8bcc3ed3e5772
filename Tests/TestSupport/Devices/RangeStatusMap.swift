// SPDX-License-Identifier: GPL-2.0-or-later

/// What a `MemoryDevice` says about a range.
package enum RangeStatus: Sendable, Equatable {
    case data
    /// Data that was written compressed: it has no location.
    case compressed
    /// Allocated here and reads as zeroes.
    case zero
    /// Left to the backing device; zeroes where there is none.
    case unallocated
}

/// A status for each byte of a disk, as runs in order of offset.
package struct RangeStatusMap: Sendable, Equatable {
    package struct Run: Sendable, Equatable {
        package var end: UInt64
        package var status: RangeStatus

        package init(end: UInt64, status: RangeStatus) {
            self.end = end
            self.status = status
        }
    }

    /// Neighbours differ in status; the last run ends at the length of the disk. Empty for an empty disk.
    package private(set) var runs: [Run]

    package init(length: UInt64, status: RangeStatus) {
        runs = length == 0 ? [] : [Run(end: length, status: status)]
    }

    package var length: UInt64 { runs.last?.end ?? 0 }

    /// Status at `offset`, inside the disk, and the offset up to which it holds.
    package func status(at offset: UInt64) -> (status: RangeStatus, end: UInt64) {
        let run = runs[indexOfRun(at: offset)]
        return (run.status, run.end)
    }

    /// Gives a range, which lies inside the disk, a status.
    package mutating func set(_ range: Range<UInt64>, to status: RangeStatus) {
        precondition(range.upperBound <= length)
        if range.isEmpty { return }
        let first = indexOfRun(at: range.lowerBound)
        let last = indexOfRun(at: range.upperBound - 1)
        let firstStart = first == 0 ? 0 : runs[first - 1].end
        var replacement: [Run] = []
        if firstStart < range.lowerBound {
            replacement.append(Run(end: range.lowerBound, status: runs[first].status))
        }
        replacement.append(Run(end: range.upperBound, status: status))
        if range.upperBound < runs[last].end { replacement.append(runs[last]) }
        // The neighbours take part, so that equal runs become one.
        let from = max(first - 1, 0)
        let through = min(last + 1, runs.count - 1)
        if from < first { replacement.insert(runs[from], at: 0) }
        if through > last { replacement.append(runs[through]) }
        runs.replaceSubrange(from...through, with: Self.merged(replacement))
    }

    /// Cuts off the end, or adds bytes of a status.
    package mutating func resize(to newLength: UInt64, adding status: RangeStatus) {
        if newLength > length {
            runs = Self.merged(runs + [Run(end: newLength, status: status)])
        } else {
            var start: UInt64 = 0
            runs = runs.compactMap { run in
                defer { start = run.end }
                return start >= newLength ? nil : Run(end: min(run.end, newLength), status: run.status)
            }
        }
    }

    private static func merged(_ runs: [Run]) -> [Run] {
        var result: [Run] = []
        for run in runs {
            if result.last?.status == run.status { result.removeLast() }
            result.append(run)
        }
        return result
    }

    private func indexOfRun(at offset: UInt64) -> Int {
        precondition(offset < length)
        var (low, high) = (0, runs.count - 1)
        while low < high {
            let middle = (low + high) / 2
            if runs[middle].end <= offset { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
