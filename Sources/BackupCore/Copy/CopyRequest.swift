// SPDX-License-Identifier: GPL-2.0-or-later

/// A range that one caller took on to copy: its bits are clear, and no one else copies any of it.
struct CopyRequest {
    let id: UInt64
    /// Bytes of the disk; starts at a cluster, ends at a cluster or at the end of the disk.
    var range: Range<UInt64>
    /// Where the range may grow to over zeroes.
    let growthLimit: UInt64
    var mayOffload: Bool
    /// Whether the source was given up here, in all of it: zeroes take its place.
    let isUnreadable: Bool
    /// Whether it must be copied by itself, and not with others that lie elsewhere.
    let isAlone: Bool
    /// Whether it was taken on before it was known to be held by the top layer. It is one cluster then.
    var mayBeUnallocated = false
}
