// SPDX-License-Identifier: GPL-2.0-or-later

/// A file in a folder of backups that is none, and that a run of this program has left.
public struct FolderStray: Sendable, Equatable {
    public enum Kind: String, Sendable, CaseIterable {
        /// A target that was not finished.
        case unfinished
        /// A target that is being written now.
        case running
        /// A manifest whose backup is gone, or has another name.
        case manifest
        /// What `verify` knew of a backup that is gone.
        case verified
        /// A file that can't be opened, so that nobody knows what it is.
        case unreadable
    }

    /// Without its folder.
    public let name: String
    public let kind: Kind
    /// In bytes.
    public let length: UInt64
    /// One line: what it is, and why it is here.
    public let message: String
}
