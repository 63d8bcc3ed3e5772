// SPDX-License-Identifier: GPL-2.0-or-later

/// Why an image was not locked.
package enum ImageLockError: Error, Sendable, Equatable {
    /// Someone else uses the image in a way that does not go together with ours.
    case conflict(path: String, ImageLockConflict)
    /// A program that does not keep to QEMU's scheme has locked this byte, and perhaps the whole file.
    case foreignLock(path: String, byte: Int64)
    /// The operating system refused for another reason than a lock.
    case system(SystemCallError)

    /// Whether the image is in use, as opposed to unlockable.
    package var isInUse: Bool {
        switch self {
        case .conflict, .foreignLock: true
        case .system: false
        }
    }
}

extension ImageLockError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .conflict(let path, let conflict):
            "\(path): \(conflict): is another process using the image?"
        case .foreignLock(let path, let byte):
            "\(path): byte \(byte) is locked: is another process using the file?"
        case .system(let error): error.description
        }
    }
}
