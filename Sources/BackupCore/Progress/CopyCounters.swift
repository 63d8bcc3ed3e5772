// SPDX-License-Identifier: GPL-2.0-or-later

/// What became of the bytes that a job dealt with. Bytes of the disk, without the padding of a short tail.
public struct CopyCounters: Sendable, Equatable {
    /// Read from the source into a buffer.
    public var read: UInt64 = 0
    /// Stored in the target as data, before compression; with what was offloaded.
    public var written: UInt64 = 0
    /// Recorded in the target as zeroes.
    public var zero: UInt64 = 0
    /// Not copied, because the top layer doesn't hold them.
    public var skipped: UInt64 = 0
    /// Copied or shared without moving through a buffer; part of `written`.
    public var offloaded: UInt64 = 0

    public init() {}

    public static func += (sum: inout CopyCounters, other: CopyCounters) {
        sum.read &+= other.read
        sum.written &+= other.written
        sum.zero &+= other.zero
        sum.skipped &+= other.skipped
        sum.offloaded &+= other.offloaded
    }
}
