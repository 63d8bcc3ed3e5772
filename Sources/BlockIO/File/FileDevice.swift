// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import CLinux
import Glibc
import SystemPackage

/// A regular file or a block device, byte for byte.
///
/// Where the file system takes direct I/O and the request's memory and offset are aligned, data goes straight to the disk
/// and comes straight from it, and the host's page cache stays as it is: only what it holds already is read from there.
/// What isn't aligned goes through the cache; both meet at page borders, where the kernel keeps them coherent.
final class FileDevice: Storage {
    package let name: String
    let kind: FileKind
    package let identity: StorageIdentity

    /// Why the file isn't locked although that was asked for: its file system has no locks.
    let lockUnavailable: SystemCallError?
    /// Whether it is locked by means that another use by this process doesn't notice, and may end.
    let isLockedClassically: Bool

    let descriptor: OwnedDescriptor
    /// Held as long as the device lives. Declared behind the descriptor, which it needs.
    private let lock: ImageLock?
    /// The same file, opened for direct I/O, where it is written; see `directReader`.
    let direct: DirectDescriptor?
    let access: StorageAccess
    /// Whether the file stays as it is while it is open: nobody else may write to it either.
    let isSteady: Bool
    let offersCopyRange: Bool
    let calls: FileCalls
    let state: Locked<State>

    struct State {
        var length: UInt64
        /// Whether the kernel has refused a direct write that should have been fine.
        var refusesDirectWrites = false
        /// Whether it has refused a direct read, or to open the file for it.
        var refusesDirectReads = false
        /// The same file, opened for direct I/O, where it is only read.
        var reader: DirectDescriptor?
        /// What was in the page cache before it was read.
        var cache = CacheMap()
        /// What the file system said of a file that stays as it is.
        var holes = HoleMap()
    }

    /// Opens a file or a block device: see `LocalStorage`.
    ///
    /// - Parameter calls: the system calls that the file is read and written with.
    init(
        path: String, access: StorageAccess, lock mode: ImageLockMode?, copyRange: CopyRangePolicy = .whereItPays,
        permissions: UInt32 = 0o666, calls: FileCalls = FileCalls()
    ) throws(BlockError) {
        // Opening a FIFO must not wait for a writer, nor a terminal become ours.
        var flags = O_NONBLOCK | O_NOCTTY | (access == .readOnly ? O_RDONLY : O_RDWR)
        if access == .create { flags |= O_CREAT | O_NOFOLLOW }
        if access == .createNew { flags |= O_CREAT | O_EXCL }
        // Has the kernel refuse a block device that is mounted, or part of something that is.
        if access == .readWrite, try FileStatus(path: path)?.kind == .blockDevice { flags |= O_EXCL }
        let descriptor: OwnedDescriptor
        do {
            descriptor = try OwnedDescriptor(opening: path, flags: flags, mode: permissions)
        } catch {
            // A directory refuses to be written before it can be looked at, and a socket to be opened.
            guard case .system(let failure) = error, [.isDirectory, .noSuchAddressOrDevice].contains(failure.errno),
                let kind = try FileStatus(path: path)?.kind, kind != .regular, kind != .blockDevice
            else { throw error }
            throw .notADisk(path: path, kind: kind)
        }
        if let mode {
            let acquired: ImageLock
            do throws(ImageLockError) {
                acquired = try ImageLock.acquire(descriptor: descriptor.rawValue, path: path, mode: mode)
            } catch {
                throw .locked(error)
            }
            lockUnavailable = acquired.unavailable
            isLockedClassically = acquired.isClassic
            lock = consume acquired
        } else {
            lockUnavailable = nil
            isLockedClassically = false
            lock = nil
        }
        var status = stat()
        guard fstat(descriptor.rawValue, &status) == 0 else {
            throw .system(SystemCallError(call: "fstat", errno: .current, path: path))
        }
        kind = FileKind(mode: status.st_mode)
        var length: UInt64 = 0
        switch kind {
        case .regular:
            // Sizes are never negative.
            length = UInt64(status.st_size)
        case .blockDevice:
            guard clinux_block_device_size(descriptor.rawValue, &length) == 0 else {
                throw .system(SystemCallError(call: "ioctl BLKGETSIZE64", errno: .current, path: path))
            }
        default:
            throw .notADisk(path: path, kind: kind)
        }
        name = path
        identity = StorageIdentity(status)
        self.access = access
        isSteady =
            access == .readOnly && lockUnavailable == nil && !isLockedClassically
            && mode.map { $0.notShared.contains(.write) } ?? false
        var fileSystem: UInt64 = 0
        let isKnown = clinux_filesystem_type(descriptor.rawValue, &fileSystem) == 0
        offersCopyRange = kind == .regular && copyRange.offersCopy(onFileSystem: isKnown ? fileSystem : nil)
        self.calls = calls
        direct = access == .readOnly ? nil : DirectDescriptor(reopening: descriptor, isReadOnly: false, calls)
        self.descriptor = descriptor
        state = Locked(State(length: length))
    }

    package var length: UInt64 {
        state.withLock { $0.length }
    }

    package var fileDescriptor: Int32? { descriptor.rawValue }

    package var isFixed: Bool { kind != .regular }

    package var capabilities: DeviceCapabilities {
        DeviceCapabilities(
            isReadOnly: access == .readOnly, isSteady: isSteady, canCopyRange: offersCopyRange && access != .readOnly)
    }

    package var preferredAlignment: UInt64 {
        direct?.alignment ?? 1
    }

    package func flush() async throws(BlockError) {
        guard access != .readOnly else { return }
        try Cancellation.check()
        while case .failure(let error) = calls.sync(descriptor.rawValue) {
            guard error == .interrupted else {
                throw .system(SystemCallError(call: "fdatasync", errno: error, path: name))
            }
        }
    }

    package func resize(to length: UInt64) async throws(BlockError) {
        guard access != .readOnly else { throw .readOnly(device: name) }
        guard kind == .regular else {
            throw .unsupported(operation: "a change of its length", device: name)
        }
        guard let size = Int64(exactly: length) else {
            throw .system(SystemCallError(call: "ftruncate", errno: .fileTooLarge, path: name, length: length))
        }
        // Under the lock, so that two threads that grow the file can't shrink it.
        try state.withLock { (state) throws(BlockError) in
            while case .failure(let error) = calls.resize(descriptor.rawValue, size) {
                guard error == .interrupted else {
                    throw .system(
                        SystemCallError(call: "ftruncate", errno: error, path: name, offset: 0, length: length))
                }
            }
            state.length = length
        }
    }

    package func close() throws(BlockError) {
        let reader = state.withLock { state in
            defer { state.reader = nil }
            return state.reader
        }
        let errors = [reader?.close(), direct?.close(), descriptor.close()]
        guard let error = errors.compactMap(\.self).first else { return }
        throw .system(SystemCallError(call: "close", errno: error, path: name))
    }

    func failure(_ call: String, _ error: Errno = .current, at offset: UInt64, length: UInt64) -> BlockError {
        .system(SystemCallError(call: call, errno: error, path: name, offset: offset, length: length))
    }
}

extension Errno {
    /// The calling thread's last error.
    static var current: Errno { Errno(rawValue: errno) }
}
