// SPDX-License-Identifier: GPL-2.0-or-later

/// How far a backup is, in bytes.
public struct BackupProgress: Sendable, Equatable {
    /// Done so far.
    public var offset: UInt64
    /// What `offset` will be at the end, as far as is known now.
    public var length: UInt64

    public init(offset: UInt64, length: UInt64) {
        self.offset = offset
        self.length = length
    }
}
