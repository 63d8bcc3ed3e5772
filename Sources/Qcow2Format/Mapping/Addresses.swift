// SPDX-License-Identifier: GPL-2.0-or-later

/// A byte offset on the disk that the guest sees.
package struct GuestOffset: Hashable, Comparable, Sendable {
    package var bytes: UInt64

    package init(_ bytes: UInt64) {
        self.bytes = bytes
    }

    package static func < (one: GuestOffset, other: GuestOffset) -> Bool {
        one.bytes < other.bytes
    }
}

/// A byte offset in the image file, or in its external data file.
package struct HostOffset: Hashable, Comparable, Sendable {
    package var bytes: UInt64

    package init(_ bytes: UInt64) {
        self.bytes = bytes
    }

    package static func < (one: HostOffset, other: HostOffset) -> Bool {
        one.bytes < other.bytes
    }
}
