// SPDX-License-Identifier: GPL-2.0-or-later

/// A byte offset on the disk that the guest sees.
public struct GuestOffset: Hashable, Comparable, Sendable {
    public var bytes: UInt64

    public init(_ bytes: UInt64) {
        self.bytes = bytes
    }

    public static func < (one: GuestOffset, other: GuestOffset) -> Bool {
        one.bytes < other.bytes
    }
}

/// A byte offset in the image file, or in its external data file.
public struct HostOffset: Hashable, Comparable, Sendable {
    public var bytes: UInt64

    public init(_ bytes: UInt64) {
        self.bytes = bytes
    }

    public static func < (one: HostOffset, other: HostOffset) -> Bool {
        one.bytes < other.bytes
    }
}
