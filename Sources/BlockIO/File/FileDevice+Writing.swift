// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import CLinux
import Glibc
import SystemPackage

extension FileDevice {
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
}
