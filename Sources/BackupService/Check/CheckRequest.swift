// SPDX-License-Identifier: GPL-2.0-or-later

public import Qcow2Format

/// An image whose structure is to be checked.
public struct CheckRequest: Sendable {
    public var image: String
    /// `nil` recognises it.
    public var format: ImageFormat?
    /// What is to be repaired; `nil` for nothing.
    public var repair: RepairScope?
    /// Read although another process writes to the image; what it has not written yet is then taken for damage.
    public var forceShare = false

    public init(image: String) {
        self.image = image
    }
}
