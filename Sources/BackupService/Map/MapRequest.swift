// SPDX-License-Identifier: GPL-2.0-or-later

public import Qcow2Format

/// What to map of which disk.
public struct MapRequest: Sendable {
    public var image: String
    /// `nil` recognises it.
    public var format: ImageFormat?
    /// Format of backing files that record none; `nil` refuses them.
    public var backingFormat: ImageFormat?
    /// Name or id of the internal snapshot to map instead of the active state.
    public var snapshot: String?
    /// First byte of the disk.
    public var start: UInt64 = 0
    /// In bytes; `nil` for up to the end of the disk.
    public var length: UInt64?
    /// Read although another process writes to the image.
    public var forceShare = false

    public init(image: String) {
        self.image = image
    }
}
