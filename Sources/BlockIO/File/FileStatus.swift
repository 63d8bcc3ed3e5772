// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import SystemPackage

/// What a path leads to, without opening it.
package struct FileStatus: Sendable {
    package let identity: StorageIdentity
    package let kind: FileKind
    /// Number of names that the file has.
    package let linkCount: UInt64
    /// Number of the user who owns it.
    package let owner: UInt32

    /// `nil` where the path leads nowhere.
    ///
    /// - Parameter followsLink: whether a symbolic link stands for what it leads to, else for itself: `FileKind.other`.
    /// - Throws: `BlockError.system` where that can't be found out.
    package init?(path: String, followsLink: Bool = true) throws(BlockError) {
        var status = stat()
        guard (followsLink ? stat(path, &status) : lstat(path, &status)) == 0 else {
            let error = Errno.current
            if error == .noSuchFileOrDirectory { return nil }
            throw .system(SystemCallError(call: "stat", errno: error, path: path))
        }
        identity = StorageIdentity(status)
        kind = FileKind(mode: status.st_mode)
        linkCount = UInt64(status.st_nlink)
        owner = status.st_uid
    }
}
