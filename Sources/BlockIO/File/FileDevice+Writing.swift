// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import CLinux
import Glibc
import SystemPackage

extension FileDevice {
    package func write(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
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
        guard let alignment = direct?.alignment, !state.withLock({ $0.refusesDirectWrites }),
            buffer.withUnsafeBytes({ Self.isAligned($0.baseAddress, as: offset) })
        else { return nil }
        let end = offset + UInt64(buffer.byteCount)
        guard let start = offset.alignedUp(to: alignment), start < end.alignedDown(to: alignment) else { return nil }
        return Int(start - offset)..<Int(end.alignedDown(to: alignment) - offset)
    }

    /// Whether memory and file reach the next page together.
    static func isAligned(_ address: UnsafeRawPointer?, as offset: UInt64) -> Bool {
        (UInt64(UInt(bitPattern: address)) ^ offset).isAligned(to: UInt64(AlignedBuffer.alignment))
    }

    private func writeDirect(at offset: UInt64, from buffer: RawSpan) throws(BlockError) {
        do {
            try writeAll(to: direct!.rawValue, at: offset, from: buffer)
        } catch {
            // Some file systems open a file for direct I/O and then refuse the writes.
            guard error == .invalidArgument || error == .notSupported else {
                throw failure("write", error, at: offset, length: UInt64(buffer.byteCount))
            }
            state.withLock { $0.refusesDirectWrites = true }
            try writeCached(at: offset, from: buffer)
        }
    }

    private func writeCached(at offset: UInt64, from buffer: RawSpan) throws(BlockError) {
        do {
            try writeAll(to: descriptor.rawValue, at: offset, from: buffer)
        } catch {
            throw failure("write", error, at: offset, length: UInt64(buffer.byteCount))
        }
    }

    private func writeAll(to descriptor: Int32, at offset: UInt64, from buffer: RawSpan) throws(Errno) {
        try buffer.withUnsafeBytes { (memory) throws(Errno) in
            var done = 0
            while done < memory.count {
                let rest = UnsafeRawBufferPointer(rebasing: memory[done...])
                switch calls.write(descriptor, rest, Int64(offset + UInt64(done))) {
                case .success(0): throw .noSpace
                case .success(let count): done += count
                case .failure(.interrupted): continue
                case .failure(let error): throw error
                }
            }
        }
    }

    package func writeZeroes(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try checkWrite(at: offset, length: length)
        guard length > 0 else { return }
        while case .failure(let error) = zeroOut(at: offset, length: length) {
            if error == .interrupted { continue }
            guard error == .notSupported || error == .invalidArgument || error.rawValue == ENOTTY else {
                throw failure("punch a hole", error, at: offset, length: length)
            }
            return try writeZeroBytes(at: offset, length: length)
        }
    }

    private func zeroOut(at offset: UInt64, length: UInt64) -> FileCalls.Count {
        guard kind == .blockDevice else {
            return calls.punchHole(descriptor.rawValue, Int64(offset), Int64(length))
        }
        let result = clinux_block_device_zero_out(descriptor.rawValue, offset, length)
        return result == 0 ? .success(0) : .failure(.current)
    }

    private func writeZeroBytes(at offset: UInt64, length: UInt64) throws(BlockError) {
        var zeroes = AlignedBuffer(count: 1 << 20)
        var bytes = zeroes.mutableBytes
        bytes.clear()
        var done: UInt64 = 0
        while done < length {
            let count = min(length - done, UInt64(zeroes.count))
            try Cancellation.check()
            try writeCached(at: offset + done, from: zeroes.prefix(Int(count)))
            done += count
        }
    }

    package func copyRange(
        from source: StorageLocation, to offset: UInt64, length: UInt64
    ) async throws(BlockError) -> RangeCopy {
        let file = source.device
        guard offersCopyRange, !file.isFixed, let sourceDescriptor = file.fileDescriptor else {
            throw .unsupported(operation: "copy offload", device: name)
        }
        try checkWrite(at: offset, length: length)
        try file.checkRange(at: source.offset, length: length)
        // To share nothing would be to share all up to the end.
        guard length > 0 else { return .copied }
        // Lengths that don't fit are for the system to refuse.
        if case .success = calls.shareRange(
            sourceDescriptor, Int64(source.offset), descriptor.rawValue, Int64(offset), Int(length))
        {
            return .shared
        }
        // Parts of blocks, other file systems, and those that copy on their server.
        var done: UInt64 = 0
        while done < length {
            switch calls.copyRange(
                sourceDescriptor, Int64(source.offset + done), descriptor.rawValue, Int64(offset + done),
                Int(min(length - done, 1 << 30)))
            {
            case .success(0): throw .truncated(device: file.name, offset: source.offset + done)
            case .success(let count): done += UInt64(count)
            case .failure(.interrupted): continue
            case .failure(let error): throw failure("copy_file_range", error, at: offset + done, length: length - done)
            }
        }
        return .copied
    }

    package func discard(at offset: UInt64, length: UInt64) async throws(BlockError) {
        // Zeroing gives the blocks back, and leaves no doubt about what is read afterwards.
        try await writeZeroes(at: offset, length: length)
    }
}
