// SPDX-License-Identifier: GPL-2.0-or-later

public import BlockIO

/// How a part of a backup is not what was recorded.
public enum ContentFault: Sendable {
    /// It is there, and other than it was.
    case differs
    /// The backup hides its parent's content there with something else, and held nothing when it was made.
    case unexpected
    /// It can't be read.
    case unreadable(BlockError)
}
