// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import CLinux
import Glibc
import SystemPackage

/// A regular file or a block device, byte for byte.
///
/// Reads go through the page cache. Writes go straight to the disk where the file system takes direct I/O and the
/// request's memory and offset are aligned: that is faster, and keeps the target from filling the host's memory. What
/// isn't aligned goes through the cache; both meet at page borders, where the kernel keeps them coherent.
public final class FileDevice: StorageDevice {
    public enum Access: Sendable {
        case readOnly
        case readWrite
        /// Read and write; the file is made where there is none. It is not truncated, and no symbolic link is followed.
        case create
    }

    public let name: String
    public let kind: FileKind
    public let identity: FileIdentity

    /// Why the file isn't locked although that was asked for: its file system has no locks.
    public let lockUnavailable: SystemCallError?

    private let descriptor: OwnedDescriptor
    /// Held as long as the device lives. Declared behind the descriptor, which it needs.
    private let lock: ImageLock?
    /// The same file, opened for direct I/O.
    private let direct: DirectDescriptor?
    private let access: Access
    private let offersCopyRange: Bool
    private let state: Locked<State>

    private struct State {
        var length: UInt64
        /// Whether the kernel has refused a direct write that should have been fine.
        var hasRefusedDirect = false
    }

    /// Opens a file or a block device.
    ///
    /// - Parameters:
    ///   - lock: how other programs are told of the use, before anything is read or changed; `nil` for not at all.
    ///   - copyRange: when `copyRange` is offered as a target.
    ///   - permissions: of a file that is made, before the umask.
    /// - Throws: `BlockError.system`; `BlockError.notADisk` for directories, FIFOs and the like; `BlockError.locked`.
    public init(
        path: String, access: Access, lock mode: ImageLockMode?, copyRange: CopyRangePolicy = .whereItPays,
        permissions: UInt32 = 0o666
    ) throws(BlockError) {
        // Opening a FIFO must not wait for a writer, nor a terminal become ours.
        var flags = O_NONBLOCK | O_NOCTTY | (access == .readOnly ? O_RDONLY : O_RDWR)
        if access == .create { flags |= O_CREAT | O_NOFOLLOW }
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
            lock = consume acquired
        } else {
            lockUnavailable = nil
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
        identity = FileIdentity(status)
        self.access = access
        var fileSystem: UInt64 = 0
        let isKnown = clinux_filesystem_type(descriptor.rawValue, &fileSystem) == 0
        offersCopyRange = kind == .regular && copyRange.offersCopy(onFileSystem: isKnown ? fileSystem : nil)
        direct = access == .readOnly ? nil : DirectDescriptor(reopening: descriptor)
        self.descriptor = descriptor
        state = Locked(State(length: length))
    }

    public var length: UInt64 {
        state.withLock { $0.length }
    }

    /// The descriptor, for calls that the device has no method for. It stays open as long as the device lives.
    public var rawDescriptor: Int32 { descriptor.rawValue }

    public var capabilities: DeviceCapabilities {
        DeviceCapabilities(isReadOnly: access == .readOnly, canCopyRange: offersCopyRange && access != .readOnly)
    }

    public var preferredAlignment: UInt64 {
        direct?.alignment ?? 1
    }

    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) async throws(BlockError) {
        let length = buffer.byteCount
        try checkRange(at: offset, length: UInt64(length))
        // The device's length fits the signed file offset, and the range lies inside it.
        try buffer.withUnsafeMutableBytes { (memory) throws(BlockError) in
            var done = 0
            while done < length {
                let position = offset + UInt64(done)
                let count = pread(
                    descriptor.rawValue, memory.baseAddress! + done, length - done, off_t(position))
                if count > 0 {
                    done += count
                } else if count == 0 {
                    throw .truncated(device: name, offset: position)
                } else if errno != EINTR {
                    throw failure("read", at: position, length: UInt64(length - done))
                }
            }
        }
    }

    public func write(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        let length = UInt64(buffer.byteCount)
        try checkWrite(at: offset, length: length)
        guard length > 0 else { return }
        guard let pieces = directPieces(at: offset, of: buffer) else {
            return try writeCached(at: offset, from: buffer)
        }
        if pieces.lowerBound > 0 {
            try writeCached(at: offset, from: buffer.extracting(0..<pieces.lowerBound))
        }
        try writeDirect(at: offset + UInt64(pieces.lowerBound), from: buffer.extracting(pieces))
        if pieces.upperBound < buffer.byteCount {
            try writeCached(
                at: offset + UInt64(pieces.upperBound),
                from: buffer.extracting(pieces.upperBound..<buffer.byteCount))
        }
    }

    private func checkWrite(at offset: UInt64, length: UInt64) throws(BlockError) {
        guard access != .readOnly else { throw .readOnly(device: name) }
        try checkRange(at: offset, length: length)
    }

    /// The part of the buffer that can be written directly, as a range of its bytes.
    private func directPieces(at offset: UInt64, of buffer: RawSpan) -> Range<Int>? {
        guard let alignment = direct?.alignment, !state.withLock({ $0.hasRefusedDirect }) else { return nil }
        let address = buffer.withUnsafeBytes { UInt64(UInt(bitPattern: $0.baseAddress)) }
        guard (address ^ offset).isAligned(to: UInt64(AlignedBuffer.alignment)) else { return nil }
        let end = offset + UInt64(buffer.byteCount)
        guard let start = offset.alignedUp(to: alignment), start < end.alignedDown(to: alignment) else { return nil }
        return Int(start - offset)..<Int(end.alignedDown(to: alignment) - offset)
    }

    private func writeDirect(at offset: UInt64, from buffer: RawSpan) throws(BlockError) {
        do {
            try Self.writeAll(to: direct!.rawValue, at: offset, from: buffer)
        } catch {
            // Some file systems open a file for direct I/O and then refuse the writes.
            guard error == .invalidArgument || error == .notSupported else {
                throw failure("write", error, at: offset, length: UInt64(buffer.byteCount))
            }
            state.withLock { $0.hasRefusedDirect = true }
            try writeCached(at: offset, from: buffer)
        }
    }

    private func writeCached(at offset: UInt64, from buffer: RawSpan) throws(BlockError) {
        do {
            try Self.writeAll(to: descriptor.rawValue, at: offset, from: buffer)
        } catch {
            throw failure("write", error, at: offset, length: UInt64(buffer.byteCount))
        }
    }

    private static func writeAll(to descriptor: Int32, at offset: UInt64, from buffer: RawSpan) throws(Errno) {
        try buffer.withUnsafeBytes { (memory) throws(Errno) in
            var done = 0
            while done < memory.count {
                let count = pwrite(
                    descriptor, memory.baseAddress! + done, memory.count - done, off_t(offset + UInt64(done)))
                if count > 0 {
                    done += count
                } else if count == 0 {
                    throw .noSpace
                } else if errno != EINTR {
                    throw .current
                }
            }
        }
    }

    public func writeZeroes(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try checkWrite(at: offset, length: length)
        guard length > 0 else { return }
        var result: Int32
        repeat {
            if kind == .blockDevice {
                result = clinux_block_device_zero_out(descriptor.rawValue, offset, length)
            } else {
                result = clinux_fallocate(
                    descriptor.rawValue, clinux_FALLOC_FL_PUNCH_HOLE | clinux_FALLOC_FL_KEEP_SIZE, Int64(offset),
                    Int64(length))
            }
        } while result != 0 && errno == EINTR
        if result == 0 { return }
        let error = Errno.current
        guard error == .notSupported || error == .invalidArgument || error.rawValue == ENOTTY else {
            throw failure("punch a hole", error, at: offset, length: length)
        }
        try writeZeroBytes(at: offset, length: length)
    }

    private func writeZeroBytes(at offset: UInt64, length: UInt64) throws(BlockError) {
        var zeroes = AlignedBuffer(count: 1 << 20)
        var bytes = zeroes.mutableBytes
        bytes.clear()
        var done: UInt64 = 0
        while done < length {
            let count = min(length - done, UInt64(zeroes.count))
            try writeCached(at: offset + done, from: zeroes.prefix(Int(count)))
            done += count
        }
    }

    public func copyRange(from source: StorageLocation, to offset: UInt64, length: UInt64) async throws(BlockError) {
        guard offersCopyRange, let file = source.device as? FileDevice, file.kind == .regular else {
            throw .unsupported(operation: "copy offload", device: name)
        }
        try checkWrite(at: offset, length: length)
        try file.checkRange(at: source.offset, length: length)
        var done: UInt64 = 0
        while done < length {
            let count = clinux_copy_file_range(
                file.descriptor.rawValue, Int64(source.offset + done), descriptor.rawValue, Int64(offset + done),
                Int(min(length - done, 1 << 30)))
            if count > 0 {
                done += UInt64(count)
            } else if count == 0 {
                throw .truncated(device: file.name, offset: source.offset + done)
            } else if errno != EINTR {
                throw failure("copy_file_range", at: offset + done, length: length - done)
            }
        }
    }

    public func discard(at offset: UInt64, length: UInt64) async throws(BlockError) {
        // Zeroing gives the blocks back, and leaves no doubt about what is read afterwards.
        try await writeZeroes(at: offset, length: length)
    }

    public func flush() async throws(BlockError) {
        guard access != .readOnly else { return }
        guard fdatasync(descriptor.rawValue) == 0 else {
            throw .system(SystemCallError(call: "fdatasync", errno: .current, path: name))
        }
    }

    public func resize(to length: UInt64) async throws(BlockError) {
        guard access != .readOnly else { throw .readOnly(device: name) }
        guard kind == .regular else {
            throw .unsupported(operation: "a change of its length", device: name)
        }
        guard let size = off_t(exactly: length) else {
            throw .system(SystemCallError(call: "ftruncate", errno: .fileTooLarge, path: name, length: length))
        }
        // Under the lock, so that two threads that grow the file can't shrink it.
        try state.withLock { (state) throws(BlockError) in
            while ftruncate(descriptor.rawValue, size) != 0 {
                guard errno == EINTR else {
                    throw .system(
                        SystemCallError(call: "ftruncate", errno: .current, path: name, offset: 0, length: length))
                }
            }
            state.length = length
        }
    }

    public func blockStatus(
        at offset: UInt64, length: UInt64, in scope: BlockStatusScope
    ) async throws(BlockError) -> BlockExtent {
        try checkRange(at: offset, length: length)
        guard kind == .regular else {
            return data(at: offset, length: length)
        }
        // Holes are a hint about storage: where the file system can't tell, everything is data.
        let start = lseek(descriptor.rawValue, off_t(offset), clinux_SEEK_DATA)
        if start < 0 {
            guard errno == ENXIO else { return data(at: offset, length: length) }
            return BlockExtent(length: length, isAllocated: true, readsAsZero: true)
        }
        if UInt64(start) > offset {
            return BlockExtent(
                length: min(UInt64(start) - offset, length), isAllocated: true, readsAsZero: true)
        }
        let end = lseek(descriptor.rawValue, off_t(offset), clinux_SEEK_HOLE)
        guard end > 0, UInt64(end) > offset else { return data(at: offset, length: length) }
        return data(at: offset, length: min(UInt64(end) - offset, length))
    }

    private func data(at offset: UInt64, length: UInt64) -> BlockExtent {
        BlockExtent(
            length: length, isAllocated: true, readsAsZero: false,
            location: StorageLocation(device: self, offset: offset))
    }

    private func failure(_ call: String, _ error: Errno = .current, at offset: UInt64, length: UInt64) -> BlockError {
        .system(SystemCallError(call: call, errno: error, path: name, offset: offset, length: length))
    }
}

extension Errno {
    /// The calling thread's last error.
    static var current: Errno { Errno(rawValue: errno) }
}
