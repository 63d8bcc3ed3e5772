// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage

/// How a part of a backup is not what was recorded.
package enum ContentFault: Sendable {
    /// It is there, and other than it was.
    case differs
    /// The backup hides its parent's content there with something else, and held nothing when it was made.
    case unexpected
    /// It can't be read.
    case unreadable(BlockError)
}

/// A part of a backup is not what was written when it was made.
package struct ContentError: LayerError {
    /// The file of the chain that holds it.
    package let device: String
    /// In bytes of the disk.
    package let range: Range<UInt64>

    package var errno: Errno { .ioError }

    package var description: String {
        "\(device): bytes \(range.lowerBound) to \(range.upperBound - 1) of the disk are not what was written when the "
            + "backup was made"
    }
}
