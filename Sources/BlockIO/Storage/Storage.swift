// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc

/// What an image or a raw disk lies in: a file, a block device, or what a server exports.
package protocol Storage: BlockDevice {
    /// The same for two storages that are the same bytes, whatever they are called.
    var identity: StorageIdentity { get }

    /// Whether neither its length nor its name can be changed: a block device, an export.
    var isFixed: Bool { get }

    /// Bytes that it takes where it is stored; `nil` where that can't be told.
    var allocatedLength: UInt64? { get }

    /// What tells a later state of the same file from this one; `nil` for storage that keeps no times.
    var stamp: FileStamp? { get }

    /// Why others may use the storage although it was to be locked; `nil` where they can't, or no lock was asked for.
    var lockWeakness: String? { get }

    /// Whether another user has announced that it writes to the storage. Takes no lock.
    var isWrittenByOther: Bool { get }

    /// Where the next free byte should start for writes to go straight to the disk, in bytes; 1 where nothing is gained.
    var preferredAlignment: UInt64 { get }

    /// The descriptor of a file or block device of this machine, for calls that there is no method for; `nil` for all else.
    /// It stays open as long as the storage lives.
    var fileDescriptor: Int32? { get }

    /// Changes the length. Bytes that are added read as zeroes.
    ///
    /// - Throws: `BlockError.unsupported` where it is fixed.
    func resize(to length: UInt64) async throws(BlockError)

    /// Ends the use of the storage, and with it its lock. Nothing may use it meanwhile or afterwards.
    ///
    /// Some storage (network file systems, quotas, FUSE) takes data and refuses it only now. So whoever relies on what
    /// was written calls this once everything is flushed, and does not leave it to the storage's end.
    ///
    /// - Throws: `BlockError.system`; it is closed all the same.
    func close() throws(BlockError)
}

/// Defaults for storage that lies in no file.
extension Storage {
    package var identity: StorageIdentity { StorageIdentity(of: self) }
    package var isFixed: Bool { false }
    package var allocatedLength: UInt64? { nil }
    package var stamp: FileStamp? { nil }
    package var lockWeakness: String? { nil }
    package var isWrittenByOther: Bool { false }
    package var preferredAlignment: UInt64 { 1 }
    package var fileDescriptor: Int32? { nil }

    package func close() throws(BlockError) {}
}

extension Storage {
    /// What the user should know of the storage's lock; `nil` where it is as it should be, or none was asked for.
    ///
    /// - Parameter advice: what to see to oneself.
    package func lockWarning(_ advice: String) -> String? {
        lockWeakness.map { "\(name) \($0): \(advice)" }
    }
}

/// Tells whether two paths lead to the same file or block device, or two storages are the same.
package struct StorageIdentity: Sendable, Hashable {
    private enum Place: Hashable {
        case file(device: UInt64, inode: UInt64)
        /// A device may have several nodes.
        case blockDevice(UInt64)
        case object(ObjectIdentifier)
    }

    private let place: Place

    init(_ status: stat) {
        place =
            FileKind(mode: status.st_mode) == .blockDevice
            ? .blockDevice(UInt64(status.st_rdev))
            : .file(device: UInt64(status.st_dev), inode: UInt64(status.st_ino))
    }

    /// That of storage which nothing else can lead to.
    init(of storage: any Storage) {
        place = .object(ObjectIdentifier(storage))
    }
}
