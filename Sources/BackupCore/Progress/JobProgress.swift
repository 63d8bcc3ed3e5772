// SPDX-License-Identifier: GPL-2.0-or-later

/// How far a job is, in bytes of the disk, as it was at one moment.
package struct JobProgress: Sendable, Equatable {
    /// Copied so far, by anyone, in whole clusters. Never falls.
    package var offset: UInt64
    /// Still to copy, in whole clusters: the copy bitmap and what is in flight.
    package var remaining: UInt64
    package var counters: CopyCounters

    package init(offset: UInt64 = 0, remaining: UInt64 = 0, counters: CopyCounters = CopyCounters()) {
        self.offset = offset
        self.remaining = remaining
        self.counters = counters
    }

    /// What `offset` will be at the end, as far as is known now. A job that succeeded has `offset == length`.
    package var length: UInt64 {
        let (sum, overflow) = offset.addingReportingOverflow(remaining)
        return overflow ? .max : sum
    }
}

/// What became of the bytes that a job dealt with. Bytes of the disk, without the padding of a short tail.
package struct CopyCounters: Sendable, Equatable {
    /// Read from the source into a buffer.
    package var read: UInt64 = 0
    /// Stored in the target as data, before compression; with what was offloaded.
    package var written: UInt64 = 0
    /// Recorded in the target as zeroes.
    package var zero: UInt64 = 0
    /// Not copied, because the top layer doesn't hold them.
    package var skipped: UInt64 = 0
    /// Copied or shared without moving through a buffer; part of `written`.
    package var offloaded: UInt64 = 0

    package init() {}

    package static func += (sum: inout CopyCounters, other: CopyCounters) {
        sum.read &+= other.read
        sum.written &+= other.written
        sum.zero &+= other.zero
        sum.skipped &+= other.skipped
        sum.offloaded &+= other.offloaded
    }
}
