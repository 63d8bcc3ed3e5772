// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc

/// Tells whether two paths lead to the same file.
public struct FileIdentity: Sendable, Hashable {
    let device: UInt64
    let inode: UInt64
}

extension FileIdentity {
    init(_ status: stat) {
        self.init(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    }
}
