// SPDX-License-Identifier: GPL-2.0-or-later

/// Why a bitmap could not be made or changed.
package enum DirtyBitmapError: Error, Sendable, Equatable {
    /// The granularity, in bytes, is no power of two from 512 B to 2 GiB.
    case invalidGranularity(UInt64)
    /// Two bitmaps describe disks of different lengths, in bytes.
    case lengthsDiffer(UInt64, UInt64)

    // Bitmaps with a name.
    case emptyName
    /// Length of the name in bytes of UTF-8.
    case nameTooLong(Int)
    case exists(String)
    case notFound(String)
    /// A job, an export or the like relies on it.
    case busy(String)
    /// Its disk may not be changed, nor may it.
    case readOnly(String)
    /// It missed writes: all that can be done is to remove it.
    case inconsistent(String)
}

extension DirtyBitmapError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .invalidGranularity: "Granularity must be a power of two, at least 512"
        case .lengthsDiffer(let one, let other): "Bitmaps are of different sizes: \(one) and \(other) bytes"
        case .emptyName: "Bitmap name must not be empty"
        case .nameTooLong(let length):
            "Bitmap name must not be longer than \(NamedBitmap.maximumNameLength) bytes, and this one has \(length)"
        case .exists(let name): "Bitmap '\(name)' exists already"
        case .notFound(let name): "No dirty bitmap '\(name)'"
        case .busy(let name): "Bitmap '\(name)' is in use by another operation"
        case .readOnly(let name): "Bitmap '\(name)' is readonly and cannot be modified"
        case .inconsistent(let name): "Bitmap '\(name)' is inconsistent and unusable"
        }
    }
}
