// SPDX-License-Identifier: GPL-2.0-or-later

/// Tells whether two paths lead to the same file.
public struct FileIdentity: Sendable, Hashable {
    let device: UInt64
    let inode: UInt64
}
