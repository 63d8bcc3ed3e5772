// SPDX-License-Identifier: GPL-2.0-or-later

/// Where a file has data and where it has holes, as far as its file system was asked.
///
/// Some file systems go through all pages of a run to find its end, or ask a server. So each run is asked for once and
/// remembered, as long as there is room: readers go through a file front to back, a few at a time.
struct HoleMap {
    struct Run {
        var range: Range<UInt64>
        var isHole: Bool
    }

    private static let capacity = 64

    private var runs: [Run] = []
    /// The run to replace next, once all places are taken.
    private var oldest = 0

    /// The run that holds a byte of the file; `nil` where it was not asked for.
    func run(at offset: UInt64) -> Run? {
        runs.first { $0.range.contains(offset) }
    }

    mutating func remember(_ run: Run) {
        if runs.count < Self.capacity {
            runs.append(run)
        } else {
            runs[oldest] = run
            oldest = (oldest + 1) % Self.capacity
        }
    }
}
