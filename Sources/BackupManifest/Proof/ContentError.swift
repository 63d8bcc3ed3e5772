// SPDX-License-Identifier: GPL-2.0-or-later

public import BlockIO
public import SystemPackage

/// A part of a backup is not what was written when it was made.
public struct ContentError: LayerError {
    /// The file of the chain that holds it.
    public let device: String
    /// In bytes of the disk.
    public let range: Range<UInt64>

    public var errno: Errno { .ioError }

    public var description: String {
        "\(device): bytes \(range.lowerBound) to \(range.upperBound - 1) of the disk are not what was written when the "
            + "backup was made"
    }
}
