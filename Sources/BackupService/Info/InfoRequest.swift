// SPDX-License-Identifier: GPL-2.0-or-later

public import Qcow2Format

/// What to tell of an image.
public struct InfoRequest: Sendable {
    public var image: String
    /// `nil` recognises it.
    public var format: ImageFormat?
    /// Format of backing files that record none; `nil` refuses to follow them.
    public var backingFormat: ImageFormat?
    /// Whether to tell of everything behind the image as well.
    public var followsChain = false
    /// Read although another process writes to the image.
    public var forceShare = false

    public init(image: String) {
        self.image = image
    }
}
