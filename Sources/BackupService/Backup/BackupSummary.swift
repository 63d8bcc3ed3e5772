// SPDX-License-Identifier: GPL-2.0-or-later

/// What a finished backup did. Sizes are in bytes.
public struct BackupSummary: Sendable, Equatable {
    /// How much of a chain has manifests to prove it by.
    public enum Proof: String, Sendable {
        case all
        /// Some of its files.
        case part
        case none
    }

    /// The finished target.
    public var target: String
    /// What was made, after what the source allows has been considered.
    public var sync: BackupRequest.Sync
    public var virtualSize: UInt64
    /// Read from the source, uncompressed.
    public var bytesRead: UInt64
    /// Stored in the target as data, before compression.
    public var bytesWritten: UInt64
    /// Found to be zero, and recorded as such without data.
    public var bytesZero: UInt64
    /// Not copied: the top layer doesn't hold them, or the bitmap doesn't mark them.
    public var bytesSkipped: UInt64
    /// Copied or shared by the kernel; part of `bytesWritten`.
    public var bytesOffloaded: UInt64
    /// What could not be read, in bytes of the disk. The target holds zeroes there.
    public var unreadable: [Range<UInt64>]
    /// Length of the target file; `nil` where it is no file.
    public var targetLength: UInt64?
    public var seconds: Double
    /// What was done about a bitmap; `nil` for a backup without one.
    public var bitmap: BitmapSummary?
    /// Why the bitmap is not up to the backup, which is complete all the same; `nil` where it is, or was to stay.
    public var bitmapFailure: ServiceError?
    /// How much of what was read was proven by manifests; `nil` where that was not asked for.
    public var proof: Proof?
    /// The backup's manifest; `nil` where there is none.
    public var manifest: ManifestSummary?

    public init(
        target: String, sync: BackupRequest.Sync = .full, virtualSize: UInt64 = 0, bytesRead: UInt64 = 0,
        bytesWritten: UInt64 = 0,
        bytesZero: UInt64 = 0, bytesSkipped: UInt64 = 0, bytesOffloaded: UInt64 = 0, unreadable: [Range<UInt64>] = [],
        targetLength: UInt64? = nil, seconds: Double = 0, bitmap: BitmapSummary? = nil
    ) {
        self.target = target
        self.sync = sync
        self.virtualSize = virtualSize
        self.bytesRead = bytesRead
        self.bytesWritten = bytesWritten
        self.bytesZero = bytesZero
        self.bytesSkipped = bytesSkipped
        self.bytesOffloaded = bytesOffloaded
        self.unreadable = unreadable
        self.targetLength = targetLength
        self.seconds = seconds
        self.bitmap = bitmap
    }

    /// Notes more ranges that could not be read.
    mutating func addUnreadable(_ ranges: [Range<UInt64>]) {
        guard !ranges.isEmpty else { return }
        var merged: [Range<UInt64>] = []
        for range in (unreadable + ranges).sorted(by: { $0.lowerBound < $1.lowerBound }) {
            if let last = merged.last, range.lowerBound <= last.upperBound {
                merged[merged.count - 1] = last.lowerBound..<max(last.upperBound, range.upperBound)
            } else {
                merged.append(range)
            }
        }
        unreadable = merged
    }
}
