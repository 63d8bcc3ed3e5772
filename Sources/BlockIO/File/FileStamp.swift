// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc

/// Which file it is, how long, and when it was last written: another one after each write and for each copy.
///
/// Storage that loses bits by itself leaves it as it was.
public struct FileStamp: Sendable, Hashable, Codable {
    /// Its number in its file system.
    public let inode: UInt64
    /// In bytes.
    public let length: UInt64
    /// Nanoseconds since 1970, as far as the file system tells them apart.
    public let modified: Int64
}

extension FileDevice {
    /// `nil` for a block device: the time of that is its name's in the file system.
    public var stamp: FileStamp? {
        var status = stat()
        guard kind == .regular, fstat(descriptor.rawValue, &status) == 0 else { return nil }
        return FileStamp(
            inode: UInt64(status.st_ino), length: UInt64(clamping: status.st_size),
            modified: Int64(status.st_mtim.tv_sec) &* 1_000_000_000 &+ Int64(status.st_mtim.tv_nsec))
    }
}
