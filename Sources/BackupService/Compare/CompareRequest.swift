// SPDX-License-Identifier: GPL-2.0-or-later

public import Qcow2Format

/// Two disks to compare.
public struct CompareRequest: Sendable {
    public var first: String
    public var second: String
    /// `nil` recognises it.
    public var firstFormat: ImageFormat?
    /// `nil` recognises it.
    public var secondFormat: ImageFormat?
    /// Format of backing files that record none; `nil` refuses them.
    public var backingFormat: ImageFormat?
    /// Whether lengths and allocation must be the same too.
    public var isStrict = false
    /// Read although other processes write to the images.
    public var forceShare = false
    /// Threads; `nil` chooses.
    public var workers: Int?

    public init(first: String, second: String) {
        self.first = first
        self.second = second
    }
}
