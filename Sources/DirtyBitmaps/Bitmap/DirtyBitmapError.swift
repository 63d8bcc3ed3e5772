// SPDX-License-Identifier: GPL-2.0-or-later

/// Why a bitmap could not be made or changed.
public enum DirtyBitmapError: Error, Sendable, Equatable {
    /// The granularity, in bytes, is no power of two from 512 B to 2 GiB.
    case invalidGranularity(UInt64)
    /// Two bitmaps describe disks of different lengths, in bytes.
    case lengthsDiffer(UInt64, UInt64)
}

extension DirtyBitmapError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .invalidGranularity: "Granularity must be a power of two, at least 512"
        case .lengthsDiffer(let one, let other): "Bitmaps are of different sizes: \(one) and \(other) bytes"
        }
    }
}
