// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import SystemPackage

/// Reading without changing what the page cache holds.
///
/// What is in the cache is copied from there. The rest is read straight from the disk: that costs less of the processor,
/// and doesn't push out what other programs need. Where the file system can't do one or the other, and for what isn't
/// aligned, reads go through the cache.
extension FileDevice {
    /// Bytes to read straight from the disk at least where some of what follows is in the cache, and where nobody knows.
    private static let shortestStretch = 64 << 10
    private static let unknownStretch = 512 << 10

    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) async throws(BlockError) {
        try checkRange(at: offset, length: UInt64(buffer.byteCount))
        // The device's length fits the signed file offset, and the range lies inside it.
        try buffer.withUnsafeMutableBytes { (memory) throws(BlockError) in
            guard let direct, memory.count >= AlignedBuffer.alignment, Self.isAligned(memory.baseAddress, as: offset),
                !state.withLock({ $0.refusesDirectReads })
            else { return try readThroughCache(memory, at: offset) }
            try read(memory, at: offset, direct)
        }
    }

    private func readThroughCache(_ memory: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(BlockError) {
        var done = 0
        while done < memory.count {
            let rest = UnsafeMutableRawBufferPointer(rebasing: memory[done...])
            let position = offset + UInt64(done)
            switch calls.read(descriptor.rawValue, rest, Int64(position)) {
            case .success(0): throw .truncated(device: name, offset: position)
            case .success(let count): done += count
            case .failure(.interrupted): continue
            case .failure(let error): throw failure("read", error, at: position, length: UInt64(rest.count))
            }
        }
    }

    private func read(
        _ memory: UnsafeMutableRawBufferPointer, at offset: UInt64, _ direct: DirectDescriptor
    ) throws(BlockError) {
        var done = 0
        while done < memory.count {
            let rest = UnsafeMutableRawBufferPointer(rebasing: memory[done...])
            let position = offset + UInt64(done)
            switch calls.readCached(descriptor.rawValue, rest, Int64(position)) {
            case .success(0): throw .truncated(device: name, offset: position)
            case .success(let count): done += count
            case .failure(.interrupted): continue
            case .failure(.resourceTemporarilyUnavailable):
                done += try readUncached(rest, at: position, direct)
            case .failure:
                // The file system can't tell what is in the cache, or the disk can't be read: that tells.
                state.withLock { $0.refusesDirectReads = true }
                return try readThroughCache(rest, at: position)
            }
        }
    }

    /// Reads from a byte on that is not in the cache.
    ///
    /// - Returns: how many bytes, at least one.
    private func readUncached(
        _ memory: UnsafeMutableRawBufferPointer, at offset: UInt64, _ direct: DirectDescriptor
    ) throws(BlockError) -> Int {
        let alignment = direct.alignment
        let start = offset.alignedUp(to: alignment) ?? .max
        let whole = UInt64(memory.count).alignedDown(to: alignment)
        guard start == offset, whole > 0 else {
            // Up to the next border, or what is left behind the last one.
            let count = start == offset ? memory.count : Int(min(start - offset, UInt64(memory.count)))
            try readThroughCache(UnsafeMutableRawBufferPointer(rebasing: memory[..<count]), at: offset)
            return count
        }
        let count = uncachedLength(at: offset, atMost: Int(whole))
        let piece = UnsafeMutableRawBufferPointer(rebasing: memory[..<count])
        while true {
            switch calls.read(direct.rawValue, piece, Int64(offset)) {
            case .success(0): throw .truncated(device: name, offset: offset)
            case .success(let count): return count
            case .failure(.interrupted): continue
            case .failure(.invalidArgument), .failure(.notSupported):
                // Some file systems open a file for direct I/O and then refuse the reads.
                state.withLock { $0.refusesDirectReads = true }
                try readThroughCache(piece, at: offset)
                return count
            case .failure(let error): throw failure("read", error, at: offset, length: UInt64(count))
            }
        }
    }

    /// How much to read straight from the disk: as much as is not in the cache, roughly.
    ///
    /// - Parameter limit: a multiple of the alignment, as the result is.
    private func uncachedLength(at offset: UInt64, atMost limit: Int) -> Int {
        var length = limit
        while length > Self.shortestStretch {
            guard let pages = calls.cachedPages(descriptor.rawValue, offset, UInt64(length)) else {
                return min(length, Self.unknownStretch)
            }
            if pages == 0 { return length }
            // Both are multiples of a page.
            length = max(length / 2 / Self.shortestStretch * Self.shortestStretch, Self.shortestStretch)
        }
        return length
    }
}
