// SPDX-License-Identifier: GPL-2.0-or-later

public import BlockIO
public import SystemPackage

/// A file gave back other bytes than were written to it: a manifest made of them would prove nothing.
public struct ReadBackError: LayerError {
    public let path: String

    public var errno: Errno { .ioError }

    public var description: String { "\(path): the file gives back other bytes than were written to it" }
}
