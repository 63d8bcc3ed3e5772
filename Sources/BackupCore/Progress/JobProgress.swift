// SPDX-License-Identifier: GPL-2.0-or-later

/// How far a job is, in bytes of the disk, as it was at one moment.
public struct JobProgress: Sendable, Equatable {
    /// Copied so far, by anyone, in whole clusters. Never falls.
    public var offset: UInt64
    /// Still to copy, in whole clusters: the copy bitmap and what is in flight.
    public var remaining: UInt64
    public var counters: CopyCounters

    public init(offset: UInt64 = 0, remaining: UInt64 = 0, counters: CopyCounters = CopyCounters()) {
        self.offset = offset
        self.remaining = remaining
        self.counters = counters
    }

    /// What `offset` will be at the end, as far as is known now. A job that succeeded has `offset == length`.
    public var length: UInt64 {
        let (sum, overflow) = offset.addingReportingOverflow(remaining)
        return overflow ? .max : sum
    }
}
