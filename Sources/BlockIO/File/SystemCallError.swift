// SPDX-License-Identifier: GPL-2.0-or-later

import SystemPackage

/// A system call that failed.
package struct SystemCallError: Error, Sendable, Equatable {
    /// Name of the call, as in its manual page.
    package let call: String
    package let errno: Errno
    package let path: String
    /// Byte offset of the transfer, for calls that have one.
    package let offset: UInt64?
    /// Length of the transfer in bytes, for calls that have one.
    package let length: UInt64?

    package init(call: String, errno: Errno, path: String, offset: UInt64? = nil, length: UInt64? = nil) {
        self.call = call
        self.errno = errno
        self.path = path
        self.offset = offset
        self.length = length
    }
}

extension SystemCallError: CustomStringConvertible {
    package var description: String {
        var place = ""
        if let offset, let length {
            place = " of \(length) bytes at offset \(offset)"
        }
        return "\(path): \(call)\(place) failed: \(errno.description)"
    }
}
