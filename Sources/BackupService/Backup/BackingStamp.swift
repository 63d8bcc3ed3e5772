// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DiskChain
import Qcow2Format

/// What the files behind a disk's own look like, in a number: their lengths and when they were last written.
///
/// A dirty bitmap records what is written to the disk. Where a file behind it changes, the disk changes as well, and no
/// bitmap tells.
enum BackingStamp {
    /// 0 for a disk that stands alone.
    static func of(_ disk: OpenedDisk) -> UInt64 {
        guard disk.backing != nil else { return 0 }
        // FNV-1a: nobody is to be kept from forging it.
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for file in disk.layers.dropFirst().flatMap({ [$0.file, $0.dataFile] }).compactMap(\.self) {
            // Of a block device nothing but the length is known.
            for number in [file.length, file.stamp.map { UInt64(bitPattern: $0.modified) } ?? 0] {
                hash = (hash ^ number) &* 0x0000_0100_0000_01b3
            }
        }
        return max(hash, 1)
    }
}
