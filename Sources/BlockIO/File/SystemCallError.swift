// SPDX-License-Identifier: GPL-2.0-or-later

public import SystemPackage

/// A system call that failed.
public struct SystemCallError: Error, Sendable, Equatable {
    /// Name of the call, as in its manual page.
    public let call: String
    public let errno: Errno
    public let path: String
    /// Byte offset of the transfer, for calls that have one.
    public let offset: UInt64?
    /// Length of the transfer in bytes, for calls that have one.
    public let length: UInt64?

    public init(call: String, errno: Errno, path: String, offset: UInt64? = nil, length: UInt64? = nil) {
        self.call = call
        self.errno = errno
        self.path = path
        self.offset = offset
        self.length = length
    }
}

extension SystemCallError: CustomStringConvertible {
    public var description: String {
        var place = ""
        if let offset, let length {
            place = " of \(length) bytes at offset \(offset)"
        }
        return "\(path): \(call)\(place) failed: \(errno.description)"
    }
}
