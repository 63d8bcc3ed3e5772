// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Glibc
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
            for number in [file.length] + times(of: file) {
                hash = (hash ^ number) &* 0x0000_0100_0000_01b3
            }
        }
        return max(hash, 1)
    }

    /// When a file was last written. The time of a block device is that of its name in the file system.
    private static func times(of file: FileDevice) -> [UInt64] {
        guard file.kind == .regular else { return [] }
        var status = stat()
        // Of a descriptor that is open it does not fail; if it did, it would do so the same way the next time.
        _ = fstat(file.rawDescriptor, &status)
        return [status.st_mtim.tv_sec, status.st_mtim.tv_nsec].map { UInt64(bitPattern: Int64($0)) }
    }
}
