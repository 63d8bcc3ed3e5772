// SPDX-License-Identifier: GPL-2.0-or-later

import SystemPackage

/// Why a request to a device failed.
package enum BlockError: Error, Sendable {
    /// The operating system refused.
    case system(SystemCallError)
    /// The layer above the storage refused: an image format, a protocol.
    case layer(any LayerError)
    /// The request does not lie on the disk. Offsets and lengths are in bytes.
    case outOfRange(device: String, offset: UInt64, length: UInt64, deviceLength: UInt64)
    /// The storage ends, at this byte offset, before the range that was asked for.
    case truncated(device: String, offset: UInt64)
    /// The path leads to something that holds no disk.
    case notADisk(path: String, kind: FileKind)
    /// Another process uses the image file.
    case locked(ImageLockError)
    case readOnly(device: String)
    case unsupported(operation: String, device: String)
    case cancelled
}

/// An error of a layer that presents itself as a device.
package protocol LayerError: Error, Sendable, CustomStringConvertible {
    /// The system error that a guest would see.
    var errno: Errno { get }
}

extension BlockError {
    /// The system error that a guest or a job's client would see.
    package var errno: Errno {
        switch self {
        case .system(let error): error.errno
        case .layer(let error): error.errno
        case .outOfRange, .truncated: .ioError
        case .notADisk: .invalidArgument
        case .locked: .resourceTemporarilyUnavailable
        case .readOnly: .permissionDenied
        case .unsupported: .notSupported
        case .cancelled: .canceled
        }
    }
}

extension BlockError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .system(let error): error.description
        case .layer(let error): error.description
        case .outOfRange(let device, let offset, let length, let deviceLength):
            "\(device): \(length) bytes at offset \(offset) are outside the disk of \(deviceLength) bytes"
        case .truncated(let device, let offset):
            "\(device): the file ends at offset \(offset), inside the range to read"
        case .notADisk(let path, let kind): "\(path) is \(kind), not a disk image"
        case .locked(let error): error.description
        case .readOnly(let device): "\(device) is open for reading only"
        case .unsupported(let operation, let device): "\(device) does not support \(operation)"
        case .cancelled: "cancelled"
        }
    }
}
