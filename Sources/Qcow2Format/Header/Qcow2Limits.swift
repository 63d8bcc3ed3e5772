// SPDX-License-Identifier: GPL-2.0-or-later

/// Caps on what an image may ask for, checked before anything is allocated.
enum Qcow2Limits {
    /// 32 MiB: four million L2 tables, 2 PiB of disk with clusters of 64 KiB.
    static let l1TableLength: UInt64 = 32 << 20
    /// 8 MiB: a million refcount blocks.
    static let refcountTableLength: UInt64 = 8 << 20
    static let snapshotCount: UInt32 = 65536
    /// 64 MiB of snapshot headers.
    static let snapshotTableLength: UInt64 = 64 << 20
    static let backingFileNameLength: UInt32 = 1023
    /// Refcounts are 2^order bits wide: 1 to 64.
    static let refcountOrder: UInt32 = 6
    /// Layers in a backing chain.
    static let chainDepth = 256
    /// File offsets that an L1 or L2 entry can hold: 56 bits.
    static let hostOffset: UInt64 = 1 << 56
    /// Persistent bitmaps in an image.
    static let bitmapCount: UInt32 = 65535
    /// Just under 64 MiB of bitmap directory: 1 KiB for each bitmap.
    static let bitmapDirectoryLength: UInt64 = 1024 * UInt64(bitmapCount)
    /// Bytes of a bitmap's name.
    static let bitmapNameLength = 1023
    /// Bits that stand for 512 B to 2 GiB of the disk each.
    static let bitmapGranularityBits: ClosedRange<UInt8> = 9...31
    /// Entries of a bitmap table.
    static let bitmapTableSize: UInt64 = 1 << 27
    /// 512 MiB: the bits of 256 TiB of disk with a granularity of 64 KiB.
    static let bitmapLength: UInt64 = 512 << 20
    /// Bytes of a disk: file offsets are signed.
    static let virtualSize: UInt64 = 1 << 63 - 512
}
