// SPDX-License-Identifier: GPL-2.0-or-later

/// What a process needs of an image file, and what it can't bear others to do meanwhile.
///
/// Permission number i is shown by a lock on byte 100 + i where it is used, and on byte 200 + i where it is not shared.
/// The bytes are those of QEMU, and so is the set for each kind of use, so that both sides notice each other. Byte 0
/// belongs to libvirt and bytes 104 and 204 to older QEMUs; they stay free.
package struct ImageLockMode: Sendable, Hashable {
    package let used: ImagePermissions
    package let notShared: ImagePermissions

    package init(used: ImagePermissions, notShared: ImagePermissions) {
        self.used = used
        self.notShared = notShared
    }

    /// Reads, and lets no one write: other readers are fine. Bytes 100, 201, 203.
    ///
    /// Used for raw files too, where QEMU would put up with a writer: a copy of a disk in use is no backup.
    package static let readOnlySource = ImageLockMode(used: .consistentRead, notShared: [.write, .resize])

    /// Reads and writes alone. Bytes 100, 101, 103, 201, 203.
    package static let writable = ImageLockMode(
        used: [.consistentRead, .write, .resize], notShared: [.write, .resize])

    /// Makes a new image in a file that may exist: to be held before the file is truncated. Bytes 101, 103, 203.
    package static let creation = ImageLockMode(used: [.write, .resize], notShared: .resize)

    /// Reads whatever others do, at the user's own risk. Byte 100.
    package static let forcedShare = ImageLockMode(used: .consistentRead, notShared: [])

    private static let firstUsedByte: Int64 = 100
    private static let firstNotSharedByte: Int64 = 200

    /// Bytes that are locked by whoever uses the permissions.
    static func bytes(showing used: ImagePermissions) -> [Int64] {
        used.numbers.map { firstUsedByte + Int64($0) }
    }

    /// Bytes to lock.
    var lockedBytes: [Int64] {
        Self.bytes(showing: used) + notShared.numbers.map { Self.firstNotSharedByte + Int64($0) }
    }

    /// Bytes that others must leave free, each with what its lock by someone else means for us.
    var foreignBytes: [(byte: Int64, conflict: ImageLockConflict)] {
        used.numbers.map {
            (Self.firstNotSharedByte + Int64($0), ImageLockConflict(number: $0, reason: .notSharedByOther))
        }
            + notShared.numbers.map {
                (Self.firstUsedByte + Int64($0), ImageLockConflict(number: $0, reason: .usedByOther))
            }
    }
}
