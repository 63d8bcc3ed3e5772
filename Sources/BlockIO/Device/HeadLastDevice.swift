// SPDX-License-Identifier: GPL-2.0-or-later

/// Storage whose first bytes are written last, so that an interrupted run can't leave something that looks whole.
///
/// The first change of the storage wipes its head; until then it stays as it was. From the start on the head lives in
/// memory, and everything else goes straight through, until `commit()` has brought the rest to stable storage and writes
/// the head behind it. A disk image without its first bytes is refused by every program that opens it.
///
/// A power cut can tear a write, though not within a sector. So the first sector decides: it is the first to be wiped,
/// alone, and the last to be written, alone.
package final class HeadLastDevice: StorageWrapper {
    package let storage: any Storage
    /// The first bytes of the storage, as they will be.
    private let head: Locked<[UInt8]>
    private let headLength: UInt64
    /// What the first sector holds meanwhile: zeroes, or the mark of a file that is made.
    private let blank: [UInt8]
    /// What must be wiped before this storage changes; `nil` for nothing.
    private let leader: HeadLastDevice?
    private let isWiped: Locked<Bool>
    private let wiping = AsyncMutex()

    /// Bytes that storage of any kind writes whole or not at all.
    package static let sectorLength: UInt64 = 512
    /// Bytes that are held back where nothing else is said.
    package static let defaultHeadLength = 65536

    /// - Parameters:
    ///   - headLength: length in bytes of what is held back.
    ///   - isMarked: whether the storage is new and begins with `UnfinishedMark` already.
    ///   - leader: the head of an image of whose data this storage is a part.
    package init(
        _ storage: any Storage, headLength: Int = defaultHeadLength, isMarked: Bool = false,
        leader: HeadLastDevice? = nil
    ) {
        self.storage = storage
        self.headLength = UInt64(headLength)
        self.leader = leader
        blank = isMarked ? UnfinishedMark.sector : [UInt8](repeating: 0, count: Int(Self.sectorLength))
        isWiped = Locked(isMarked)
        head = Locked([UInt8](repeating: 0, count: headLength))
    }

    /// Takes what the head holds now as its content to come, for storage that is changed and not made anew.
    package func keepHead() async throws(BlockError) {
        var buffer = AlignedBuffer(count: Int(min(headLength, storage.length)))
        var bytes = buffer.mutableBytes
        try await storage.read(at: 0, into: &bytes)
        let content = buffer.bytes
        head.withLock { head in
            var span = head.mutableSpan
            var target = span.mutableBytes
            target.copy(content)
        }
    }

    /// Wipes the head of the storage, unless that has been done; its first sector durably, and before the rest. Whoever
    /// else wants to change something waits.
    package func wipe() async throws(BlockError) {
        if isWiped.withLock({ $0 }) { return }
        try await leader?.wipe()
        try await wiping.withLock { () async throws(BlockError) in
            if isWiped.withLock({ $0 }) { return }
            let (blank, length) = (self.blank, min(headLength, storage.length))
            if length > 0 {
                let first = Int(min(length, Self.sectorLength))
                try await storage.write(at: 0, from: blank.span.bytes.extracting(0..<first))
                try await storage.flush()
                if first < length {
                    let zeroes = [UInt8](repeating: 0, count: Int(length) - first)
                    try await storage.write(at: UInt64(first), from: zeroes.span.bytes)
                }
            }
            isWiped.withLock { $0 = true }
        }
    }

    /// Makes everything else durable, then the first sector. Where that fails, the first sector is wiped again.
    package func commit() async throws(BlockError) {
        try await wipe()
        let (content, blank) = (head.withLock { $0 }, self.blank)
        let length = Int(min(headLength, storage.length))
        let first = min(length, Int(Self.sectorLength))
        if first < length {
            try await storage.write(at: UInt64(first), from: content.span.bytes.extracting(first..<length))
        }
        try await storage.flush()
        guard length > 0 else { return }
        do {
            try await storage.write(at: 0, from: content.span.bytes.extracting(0..<first))
            try await storage.flush()
        } catch {
            // Nobody knows what is on the disk. As far as it can still be had, it must not look whole.
            try? await Cancellation.ignoring { () async throws(BlockError) in
                try await storage.write(at: 0, from: blank.span.bytes.extracting(0..<first))
                try await storage.flush()
            }
            throw error
        }
    }

    /// How many of `length` bytes from `offset` on belong to the head.
    private func headShare(at offset: UInt64, length: UInt64) -> UInt64 {
        offset < headLength ? min(length, headLength - offset) : 0
    }

    package func read(at offset: UInt64, into buffer: inout MutableRawSpan) async throws(BlockError) {
        let count = buffer.byteCount
        try checkRange(at: offset, length: UInt64(count))
        let share = Int(headShare(at: offset, length: UInt64(count)))
        if share > 0 {
            let content = head.withLock { $0 }
            buffer.copy(content.span.bytes.extracting(Int(offset)..<Int(offset) + share))
        }
        if share < count {
            var rest = buffer.slice(share..<count)
            try await storage.read(at: offset + UInt64(share), into: &rest)
        }
    }

    package func write(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        let count = buffer.byteCount
        try checkRange(at: offset, length: UInt64(count))
        let share = Int(headShare(at: offset, length: UInt64(count)))
        if share > 0 {
            head.withLock { head in
                var span = head.mutableSpan
                var target = span.mutableBytes
                target.copy(buffer.extracting(0..<share), at: Int(offset))
            }
        }
        if share < count {
            try await wipe()
            try await storage.write(at: offset + UInt64(share), from: buffer.extracting(share..<count))
        }
    }

    package func writeZeroes(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try checkRange(at: offset, length: length)
        let share = headShare(at: offset, length: length)
        if share > 0 {
            head.withLock { head in
                var span = head.mutableSpan
                var target = span.mutableBytes
                var part = target.slice(Int(offset)..<Int(offset + share))
                part.clear()
            }
        }
        if share < length {
            try await wipe()
            try await storage.writeZeroes(at: offset + share, length: length - share)
        }
    }

    package func copyRange(
        from source: StorageLocation, to offset: UInt64, length: UInt64
    ) async throws(BlockError) -> RangeCopy {
        let share = headShare(at: offset, length: length)
        if share > 0 {
            var buffer = AlignedBuffer(count: Int(share))
            var bytes = buffer.mutableBytes
            try await source.device.read(at: source.offset, into: &bytes)
            try await write(at: offset, from: buffer.bytes)
        }
        guard share < length else { return .copied }
        let rest = StorageLocation(device: source.device, offset: source.offset + share)
        try await wipe()
        let way = try await storage.copyRange(from: rest, to: offset + share, length: length - share)
        return share > 0 ? .copied : way
    }

    package func discard(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try await writeZeroes(at: offset, length: length)
    }

    package func blockStatus(
        at offset: UInt64, length: UInt64, in scope: BlockStatusScope
    ) async throws(BlockError) -> BlockExtent {
        try checkRange(at: offset, length: length)
        let share = headShare(at: offset, length: length)
        if share > 0 {
            return BlockExtent(length: share, isAllocated: true, readsAsZero: false)
        }
        return try await storage.blockStatus(at: offset, length: length, in: scope)
    }

    package func resize(to length: UInt64) async throws(BlockError) {
        try await wipe()
        try await storage.resize(to: length)
    }
}
