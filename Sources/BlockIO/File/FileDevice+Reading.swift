// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import SystemPackage

/// Reading without changing what the page cache holds.
///
/// What is in the cache is copied from there. The rest is read straight from the disk: that costs less of the processor,
/// and doesn't push out what other programs need. Where the system can't do one or the other, and for what isn't aligned,
/// reads go through the cache.
extension FileDevice {
    package func read(at offset: UInt64, into buffer: inout MutableRawSpan) async throws(BlockError) {
        try checkRange(at: offset, length: UInt64(buffer.byteCount))
        // The device's length fits the signed file offset, and the range lies inside it.
        try buffer.withUnsafeMutableBytes { (memory) throws(BlockError) in
            var done = 0
            while done < memory.count {
                let (length, direct) = nextPiece(of: memory, at: offset, done: done)
                let piece = UnsafeMutableRawBufferPointer(rebasing: memory[done..<done + length])
                if let direct {
                    done += try readDirect(piece, at: offset + UInt64(done), direct)
                } else {
                    try readThroughCache(piece, at: offset + UInt64(done))
                    done += length
                }
            }
        }
    }

    /// How much to read next in one way.
    ///
    /// - Returns: bytes, at least one; and what to read them through, `nil` for the page cache.
    private func nextPiece(
        of memory: UnsafeMutableRawBufferPointer, at offset: UInt64, done: Int
    ) -> (length: Int, direct: DirectDescriptor?) {
        let rest = memory.count - done
        guard rest >= AlignedBuffer.alignment, Self.isAligned(memory.baseAddress, as: offset),
            let direct = directReader()
        else { return (rest, nil) }
        let position = offset + UInt64(done)
        let whole = UInt64(rest).alignedDown(to: direct.alignment)
        // Before the first page, and behind the last one.
        let start = position.alignedUp(to: direct.alignment) ?? .max
        guard start == position else { return (Int(min(start - position, UInt64(rest))), nil) }
        guard whole > 0, let (end, status) = cacheStatus(at: position) else { return (rest, nil) }
        let length = min(end - position, whole)
        return (Int(length), isCached(position..<position + length, status) ? nil : direct)
    }

    /// What to read directly through; `nil` where that can't be done.
    ///
    /// Of many files that are opened little is read: one that is only read is opened for it when it is needed.
    private func directReader() -> DirectDescriptor? {
        state.withLock { state in
            if state.refusesDirectReads { return nil }
            if let known = direct ?? state.reader { return known }
            state.reader = DirectDescriptor(reopening: descriptor, isReadOnly: true, calls)
            state.refusesDirectReads = state.reader == nil
            return state.reader
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

    /// - Returns: how many bytes it read, at least one.
    private func readDirect(
        _ memory: UnsafeMutableRawBufferPointer, at offset: UInt64, _ direct: DirectDescriptor
    ) throws(BlockError) -> Int {
        while true {
            switch calls.read(direct.rawValue, memory, Int64(offset)) {
            case .success(0): throw .truncated(device: name, offset: offset)
            case .success(let count): return count
            case .failure(.interrupted): continue
            case .failure(.invalidArgument), .failure(.notSupported):
                // Some file systems open a file for direct I/O and then refuse the reads.
                state.withLock { $0.refusesDirectReads = true }
                try readThroughCache(memory, at: offset)
                return memory.count
            case .failure(let error): throw failure("read", error, at: offset, length: UInt64(memory.count))
            }
        }
    }

    // MARK: The page cache

    /// Whether what lies at an offset was in the page cache, and up to where that holds; `nil` where nobody knows.
    private func cacheStatus(at offset: UInt64) -> (end: UInt64, status: CacheMap.Status)? {
        let region = offset / CacheMap.regionLength
        // Before the kernel reads ahead into the next one.
        guard let blocks = cachedBlocks(ofRegion: region), cachedBlocks(ofRegion: region + 1) != nil else {
            return nil
        }
        return CacheMap.end(of: blocks, at: offset)
    }

    private func isCached(_ range: Range<UInt64>, _ status: CacheMap.Status) -> Bool {
        switch status {
        case .cached: return true
        case .notCached: return false
        case .mixed:
            let length = range.upperBound - range.lowerBound
            return calls.cachedLength(descriptor.rawValue, range.lowerBound, length).map { $0 > length / 2 } ?? true
        }
    }

    private func cachedBlocks(ofRegion index: UInt64) -> CacheMap.Blocks? {
        if let known = state.withLock({ $0.cache.blocks(ofRegion: index) }) { return known }
        guard let blocks = lookForCachedBlocks(inRegion: index) else { return nil }
        state.withLock { $0.cache.remember(blocks, ofRegion: index) }
        return blocks
    }

    private func lookForCachedBlocks(inRegion index: UInt64) -> CacheMap.Blocks? {
        let start = index * CacheMap.regionLength
        guard start < length else { return .nothing }
        let count = min(CacheMap.regionLength, length - start)
        guard let all = calls.cachedLength(descriptor.rawValue, start, count) else { return nil }
        if all == 0 { return .nothing }
        if all >= count { return .everything }
        var blocks = CacheMap.Blocks.nothing
        for block in 0..<count.dividedRoundingUp(by: CacheMap.blockLength) {
            let inside = block * CacheMap.blockLength
            let length = min(CacheMap.blockLength, count - inside)
            guard let cached = calls.cachedLength(descriptor.rawValue, start + inside, length) else { return nil }
            if cached > length / 2 { blocks.cached |= 1 << block } else if cached > 0 { blocks.mixed |= 1 << block }
        }
        return blocks
    }
}
