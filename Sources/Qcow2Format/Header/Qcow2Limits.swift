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
    /// Bytes of a disk: file offsets are signed.
    static let virtualSize: UInt64 = 1 << 63 - 512
}
