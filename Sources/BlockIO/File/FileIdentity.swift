// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc

/// Tells whether two paths lead to the same file, or to the same block device.
public struct FileIdentity: Sendable, Hashable {
    let device: UInt64
    let inode: UInt64
}

extension FileIdentity {
    init(_ status: stat) {
        if FileKind(mode: status.st_mode) == .blockDevice {
            // A device may have several nodes; no file has this number.
            self.init(device: UInt64(status.st_rdev), inode: .max)
        } else {
            self.init(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
        }
    }
}
