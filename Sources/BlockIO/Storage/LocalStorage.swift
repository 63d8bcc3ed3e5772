// SPDX-License-Identifier: GPL-2.0-or-later

/// What may be done with storage.
package enum StorageAccess: Sendable {
    case readOnly
    case readWrite
    /// Read and write; the file is made where there is none. It is not truncated, and no symbolic link is followed.
    case create
    /// As `create`, where there is none: what has the name already is an error, `EEXIST`.
    case createNew
}

/// Files and block devices of this machine.
package enum LocalStorage {
    /// Opens a file or a block device.
    ///
    /// - Parameters:
    ///   - lock: how other programs are told of the use, before anything is read or changed; `nil` for not at all.
    ///   - copyRange: when `copyRange` is offered as a target.
    ///   - permissions: of a file that is made, before the umask.
    /// - Throws: `BlockError.system`; `BlockError.notADisk` for directories, FIFOs and the like; `BlockError.locked`.
    package static func open(
        _ path: String, access: StorageAccess = .readOnly, lock: ImageLockMode?,
        copyRange: CopyRangePolicy = .whereItPays, permissions: UInt32 = 0o666
    ) throws(BlockError) -> any Storage {
        try FileDevice(path: path, access: access, lock: lock, copyRange: copyRange, permissions: permissions)
    }
}
