// SPDX-License-Identifier: GPL-2.0-or-later

/// What a process does with an image file, or lets others do with it at the same time.
///
/// Each bit's number is the number of its lock bytes, as QEMU has laid them down: see `ImageLockMode`.
package struct ImagePermissions: OptionSet, Sendable, Hashable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) {
        self.rawValue = rawValue
    }

    /// Reading what belongs together: no reader's view may change under it.
    package static let consistentRead = ImagePermissions(rawValue: 1 << 0)
    package static let write = ImagePermissions(rawValue: 1 << 1)
    /// Writing the bytes that are there already, as rebasing does.
    package static let writeUnchanged = ImagePermissions(rawValue: 1 << 2)
    package static let resize = ImagePermissions(rawValue: 1 << 3)

    static let names = ["consistent read", "write", "write unchanged", "resize"]

    /// Numbers of the bits that are set, in rising order; those without a meaning are left out.
    var numbers: [Int] {
        Self.names.indices.filter { rawValue & (1 << UInt8($0)) != 0 }
    }
}

extension ImagePermissions: CustomStringConvertible {
    package var description: String {
        numbers.map { Self.names[$0] }.joined(separator: ", ")
    }
}
