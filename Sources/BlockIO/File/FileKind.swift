// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc

/// What a path leads to.
package enum FileKind: Sendable, Equatable {
    case regular
    case blockDevice
    case directory
    case fifo
    case characterDevice
    case socket
    case other

    init(mode: mode_t) {
        switch mode & S_IFMT {
        case S_IFREG: self = .regular
        case S_IFBLK: self = .blockDevice
        case S_IFDIR: self = .directory
        case S_IFIFO: self = .fifo
        case S_IFCHR: self = .characterDevice
        case S_IFSOCK: self = .socket
        default: self = .other
        }
    }
}

extension FileKind: CustomStringConvertible {
    package var description: String {
        switch self {
        case .regular: "a regular file"
        case .blockDevice: "a block device"
        case .directory: "a directory"
        case .fifo: "a FIFO"
        case .characterDevice: "a character device"
        case .socket: "a socket"
        case .other: "a special file"
        }
    }
}
