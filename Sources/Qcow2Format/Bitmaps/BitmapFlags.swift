// SPDX-License-Identifier: GPL-2.0-or-later

/// Flags of a bitmap directory entry.
///
/// Spec: “Bitmap directory”, bytes 12 to 15.
struct BitmapFlags: OptionSet, Sendable, Equatable {
    let rawValue: UInt32

    /// The stored bits may be out of date.
    static let inUse = BitmapFlags(rawValue: 1 << 0)
    /// Whoever writes to the disk must record it in the bitmap.
    static let auto = BitmapFlags(rawValue: 1 << 1)
    /// The bitmap may be used although its extra data are unknown.
    static let extraDataCompatible = BitmapFlags(rawValue: 1 << 2)

    static let known: BitmapFlags = [.inUse, .auto, .extraDataCompatible]
}
