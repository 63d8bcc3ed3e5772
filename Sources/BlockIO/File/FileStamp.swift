// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc

/// Which file it is, how long, and when it was last changed: another one after each write and for each copy, also for one
/// that was given the times of its original.
///
/// Storage that loses bits by itself leaves it as it was.
package struct FileStamp: Sendable, Hashable, Codable {
    /// Its number in its file system.
    package let inode: UInt64
    /// In bytes.
    package let length: UInt64
    /// When its content was last written: nanoseconds since 1970, as far as the file system tells them apart.
    package let modified: Int64
    /// When anything of it was last changed, its times included. Nobody can set that.
    package let changed: Int64

    /// `nil` for what is no regular file: the times of a block device are its name's in the file system.
    package init?(path: String) {
        var status = stat()
        guard stat(path, &status) == 0 else { return nil }
        self.init(status)
    }

    fileprivate init?(_ status: stat) {
        guard FileKind(mode: status.st_mode) == .regular else { return nil }
        inode = UInt64(status.st_ino)
        length = UInt64(clamping: status.st_size)
        modified = Self.nanoseconds(status.st_mtim)
        changed = Self.nanoseconds(status.st_ctim)
    }

    private static func nanoseconds(_ time: timespec) -> Int64 {
        Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec)
    }
}

extension FileDevice {
    /// `nil` for a block device.
    package var stamp: FileStamp? {
        var status = stat()
        return fstat(descriptor.rawValue, &status) == 0 ? FileStamp(status) : nil
    }
}
