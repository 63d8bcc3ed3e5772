// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import SystemPackage

/// The locks that show QEMU, and other runs of this program, what an image file is in use for.
///
/// They are read locks on single bytes, owned by the open file description. So they conflict between two descriptors
/// of one process as well, and they end at the latest when the last copy of the descriptor is closed: keep it open until
/// the last flush is through. Each side first takes all its locks and then looks for the other's. When two start at
/// the same moment, both may give up, but never do both go on.
package struct ImageLock: ~Copyable, Sendable {
    private let descriptor: Int32
    private let path: String
    private var system: LockCalls
    /// What to lock with where `system` knows no such locks; `nil` for nothing.
    private var fallback: LockCalls?
    /// Whether the locks are classic ones, which belong to the process: that deserves a warning.
    package private(set) var isClassic = false
    package private(set) var mode: ImageLockMode
    /// Why nothing is locked: the system or its file system has no such locks. `nil` where the locks are held.
    package private(set) var unavailable: SystemCallError?

    /// Locks an image file.
    ///
    /// - Parameters:
    ///   - descriptor: open for reading; not closed, and used until `release`.
    ///   - path: named in errors.
    /// - Returns: the lock, which is `unavailable` where there is no locking; that deserves a warning.
    /// - Throws: `ImageLockError`; nothing is locked then.
    package static func acquire(
        descriptor: Int32, path: String, mode: ImageLockMode
    ) throws(ImageLockError) -> ImageLock {
        try acquire(descriptor: descriptor, path: path, mode: mode, system: LockCalls(), fallback: .classic)
    }

    static func acquire(
        descriptor: Int32, path: String, mode: ImageLockMode, system: LockCalls, fallback: LockCalls? = nil
    ) throws(ImageLockError) -> ImageLock {
        var lock = ImageLock(descriptor: descriptor, path: path, system: system, fallback: fallback)
        try lock.change(to: mode)
        return lock
    }

    private init(descriptor: Int32, path: String, system: LockCalls, fallback: LockCalls?) {
        self.fallback = fallback
        self.descriptor = descriptor
        self.path = path
        self.mode = ImageLockMode(used: [], notShared: [])
        self.system = system
    }

    /// Goes over to another mode. There is no moment without the locks that both have in common.
    ///
    /// - Throws: `ImageLockError`; the lock is as before then.
    package mutating func change(to newMode: ImageLockMode) throws(ImageLockError) {
        let held = unavailable == nil ? mode.lockedBytes : []
        let wanted = newMode.lockedBytes
        let added = wanted.filter { !held.contains($0) }
        do throws(Failure) {
            for byte in added { try lock(byte) }
            for (byte, conflict) in newMode.foreignBytes where try isLockedByOther(byte) {
                throw Failure.error(.conflict(path: path, conflict))
            }
        } catch {
            unlock(added)
            switch error {
            case .error(let error): throw error
            case .unavailable(let reason):
                unlock(held)
                if let fallback {
                    system = fallback
                    self.fallback = nil
                    mode = ImageLockMode(used: [], notShared: [])
                    try change(to: newMode)
                    isClassic = unavailable == nil
                    return
                }
                unavailable = reason
                mode = newMode
                return
            }
        }
        unlock(held.filter { !wanted.contains($0) })
        unavailable = nil
        mode = newMode
    }

    /// Gives the image free for others, while the descriptor stays open.
    package consuming func release() {
        unlock(mode.lockedBytes)
    }

    private enum Failure: Error {
        case error(ImageLockError)
        case unavailable(SystemCallError)
    }

    private func lock(_ byte: Int64) throws(Failure) {
        while let error = system.lock(descriptor, byte, Int16(F_RDLCK)) {
            switch error {
            case .interrupted: continue
            case .resourceTemporarilyUnavailable, .permissionDenied: throw .error(.foreignLock(path: path, byte: byte))
            default: throw failure(of: "fcntl(F_OFD_SETLK)", at: byte, with: error)
            }
        }
    }

    private func isLockedByOther(_ byte: Int64) throws(Failure) -> Bool {
        var type = Int16(F_UNLCK)
        while let error = system.probe(descriptor, byte, &type) {
            if error == .interrupted { continue }
            throw failure(of: "fcntl(F_OFD_GETLK)", at: byte, with: error)
        }
        return type != Int16(F_UNLCK)
    }

    private func failure(of call: String, at byte: Int64, with errno: Errno) -> Failure {
        let error = SystemCallError(call: call, errno: errno, path: path, offset: UInt64(byte), length: 1)
        // Kernels before 3.15 don't know the command, some file systems have no locks at all, NFS may lack its daemon.
        return switch errno {
        case .invalidArgument, .noLocks, .notSupportedOnSocket, .notSupported, .noFunction: .unavailable(error)
        default: .error(.system(error))
        }
    }

    /// Failures are of no use to anyone: the locks end with the descriptor anyhow.
    private func unlock(_ bytes: [Int64]) {
        for byte in bytes { _ = system.lock(descriptor, byte, Int16(F_UNLCK)) }
    }
}
