// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore

/// What a finished backup did. Sizes are in bytes.
package struct BackupSummary: Sendable, Equatable {
    /// How much of a chain has manifests to prove it by.
    package enum Proof: String, Sendable {
        case all
        /// Some of its files.
        case part
        case none
    }

    /// The finished target.
    package var target: String
    /// What was made, after what the source allows has been considered.
    package var sync: SyncMode
    package var virtualSize: UInt64
    /// Read from the source, uncompressed.
    package var bytesRead: UInt64
    /// Stored in the target as data, before compression.
    package var bytesWritten: UInt64
    /// Found to be zero, and recorded as such without data.
    package var bytesZero: UInt64
    /// Not copied: the top layer doesn't hold them, or the bitmap doesn't mark them.
    package var bytesSkipped: UInt64
    /// Copied or shared by the kernel; part of `bytesWritten`.
    package var bytesOffloaded: UInt64
    /// What could not be read, in bytes of the disk. The target holds zeroes there.
    package var unreadable: [Range<UInt64>]
    /// Length of the target file; `nil` where it is no file.
    package var targetLength: UInt64?
    package var seconds: Double
    /// What was done about a bitmap; `nil` for a backup without one.
    package var bitmap: BitmapSummary?
    /// Why the bitmap is not up to the backup, which is complete all the same; `nil` where it is, or was to stay.
    package var bitmapFailure: ServiceError?
    /// How much of what was read was proven by manifests; `nil` where that was not asked for.
    package var proof: Proof?
    /// The backup's manifest; `nil` where there is none.
    package var manifest: ManifestSummary?

    package init(
        target: String, sync: SyncMode = .full, virtualSize: UInt64 = 0, bytesRead: UInt64 = 0,
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

/// How far a backup is, in bytes.
package struct BackupProgress: Sendable, Equatable {
    /// Done so far.
    package var offset: UInt64
    /// What `offset` will be at the end, as far as is known now.
    package var length: UInt64

    package init(offset: UInt64, length: UInt64) {
        self.offset = offset
        self.length = length
    }
}
