// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// A disk in memory, with a status for each byte, as a raw file or the top layer of a chain would have it.
///
/// Writes allocate, `writeZeroes` leaves allocated zeroes, and unallocated ranges show `backing`, or zeroes.
package final class MemoryDevice: Storage {
    private struct State: Sendable {
        var content: SparseBytes
        var statuses: RangeStatusMap
        var counts: [RequestKind: Int] = [:]
    }

    package let name: String
    package let capabilities: DeviceCapabilities
    package let preferredAlignment: UInt64
    /// What unallocated ranges show.
    package let backing: (any BlockDevice)?
    /// Answer to `clusterSize()`; `nil` makes it throw.
    private let cluster: UInt64?
    /// Whether copied ranges are said to share their blocks with the source.
    private let sharesBlocks: Bool
    private let state: Locked<State>

    /// A disk that reads as zeroes: unallocated where there is a backing device, allocated zeroes where there is none.
    ///
    /// - Parameters:
    ///   - clusterSize: in bytes; `nil` lets the question fail.
    ///   - capabilities: `nil` stands for everything: writable, compressed writes, copy offload.
    package init(
        name: String = "memory", length: UInt64, clusterSize: UInt64? = 0, backing: (any BlockDevice)? = nil,
        capabilities: DeviceCapabilities? = nil, preferredAlignment: UInt64 = 1, sharesBlocks: Bool = false
    ) {
        self.name = name
        self.cluster = clusterSize
        self.sharesBlocks = sharesBlocks
        self.backing = backing
        self.capabilities =
            capabilities
            ?? DeviceCapabilities(
                isReadOnly: false, hasBackingFile: backing != nil, canWriteCompressed: true, canCopyRange: true)
        self.preferredAlignment = preferredAlignment
        state = Locked(
            State(
                content: SparseBytes(length: length),
                statuses: RangeStatusMap(length: length, status: backing == nil ? .zero : .unallocated)))
    }

    /// A disk that holds `bytes`, all of them data.
    package convenience init(name: String = "memory", bytes: [UInt8], clusterSize: UInt64? = 0) {
        self.init(name: name, length: UInt64(bytes.count), clusterSize: clusterSize)
        restore(SparseBytes(bytes))
    }

    package var length: UInt64 { state.withLock { $0.content.length } }

    package func clusterSize() async throws(BlockError) -> UInt64 {
        guard let cluster else { throw .unsupported(operation: "cluster size", device: name) }
        return cluster
    }

    package func read(at offset: UInt64, into buffer: inout MutableRawSpan) async throws(BlockError) {
        count(.read)
        // A copy shares the pages; so no lock is held while the backing device is asked.
        let now = state.withLock { $0 }
        try check(at: offset, length: UInt64(buffer.byteCount), of: now)
        let (content, statuses) = (now.content, now.statuses)
        content.read(at: offset, into: &buffer)
        guard let backing else { return }
        var position = offset
        let end = offset + UInt64(buffer.byteCount)
        while position < end {
            let run = statuses.status(at: position)
            let runEnd = min(run.end, end)
            let backedEnd = min(runEnd, backing.length)
            if run.status == .unallocated, position < backedEnd {
                var part = buffer.slice(Int(position - offset)..<Int(backedEnd - offset))
                try await backing.read(at: position, into: &part)
            }
            position = runEnd
        }
    }

    package func blockStatus(
        at offset: UInt64, length: UInt64, in scope: BlockStatusScope
    ) async throws(BlockError) -> BlockExtent {
        count(.blockStatus)
        precondition(length > 0, "block status of nothing")
        let now = state.withLock { $0 }
        try check(at: offset, length: length, of: now)
        let run = now.statuses.status(at: offset)
        let known = min(length, run.end - offset)
        switch run.status {
        case .data:
            return BlockExtent(
                length: known, isAllocated: true, readsAsZero: false,
                location: StorageLocation(device: self, offset: offset))
        case .compressed:
            return BlockExtent(length: known, isAllocated: true, readsAsZero: false, isCompressed: true)
        case .zero:
            return BlockExtent(length: known, isAllocated: true, readsAsZero: true)
        case .unallocated:
            guard let backing, offset < backing.length else {
                return BlockExtent(
                    length: known, isAllocated: false, readsAsZero: true,
                    depth: backing != nil && scope == .chain ? 1 : 0)
            }
            let backed = min(known, backing.length - offset)
            if scope == .topLayer { return BlockExtent(length: backed, isAllocated: false, readsAsZero: false) }
            var extent = try await backing.blockStatus(at: offset, length: backed, in: .chain)
            extent.depth += 1
            return extent
        }
    }

    package func write(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        count(.write)
        try put(buffer, at: offset, status: .data)
    }

    package func writeCompressed(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        count(.writeCompressed)
        guard capabilities.canWriteCompressed else {
            throw .unsupported(operation: "compressed writes", device: name)
        }
        let end = offset + UInt64(buffer.byteCount)
        if let cluster, cluster > 0 {
            precondition(offset % cluster == 0 && (end % cluster == 0 || end == length), "unaligned compressed write")
        }
        try put(buffer, at: offset, status: .compressed)
    }

    package func writeZeroes(at offset: UInt64, length: UInt64) async throws(BlockError) {
        count(.writeZeroes)
        try clear(at: offset, length: length, status: .zero)
    }

    package func copyRange(
        from source: StorageLocation, to offset: UInt64, length: UInt64
    ) async throws(BlockError) -> RangeCopy {
        count(.copyRange)
        guard capabilities.canCopyRange else { throw .unsupported(operation: "copy offload", device: name) }
        try checkRange(at: offset, length: length)
        var buffer = AlignedBuffer(count: Int(length))
        var bytes = buffer.mutableBytes
        try await source.device.read(at: source.offset, into: &bytes)
        try put(buffer.bytes, at: offset, status: .data)
        return sharesBlocks ? .shared : .copied
    }

    package func discard(at offset: UInt64, length: UInt64) async throws(BlockError) {
        count(.discard)
        try clear(at: offset, length: length, status: backing == nil ? .unallocated : .zero)
    }

    package func flush() async throws(BlockError) {
        count(.flush)
    }

    package func resize(to length: UInt64) async throws(BlockError) {
        count(.resize)
        try checkWritable()
        state.withLock { state in
            state.content.resize(to: length)
            state.statuses.resize(to: length, adding: .zero)
        }
    }

    private func put(_ bytes: RawSpan, at offset: UInt64, status: RangeStatus) throws(BlockError) {
        try checkWritable()
        let count = UInt64(bytes.byteCount)
        // Range and change under one lock: the device may be shrunk meanwhile.
        try state.withLock { (state) throws(BlockError) in
            try check(at: offset, length: count, of: state)
            state.content.write(bytes, at: offset)
            state.statuses.set(offset..<offset + count, to: status)
        }
    }

    private func clear(at offset: UInt64, length: UInt64, status: RangeStatus) throws(BlockError) {
        try checkWritable()
        try state.withLock { (state) throws(BlockError) in
            try check(at: offset, length: length, of: state)
            state.content.zero(offset..<offset + length)
            state.statuses.set(offset..<offset + length, to: status)
        }
    }

    private func check(at offset: UInt64, length: UInt64, of state: State) throws(BlockError) {
        try Cancellation.check()
        let whole = state.content.length
        guard offset <= whole, length <= whole - offset else {
            throw .outOfRange(device: name, offset: offset, length: length, deviceLength: whole)
        }
    }

    private func checkWritable() throws(BlockError) {
        if capabilities.isReadOnly { throw .readOnly(device: name) }
    }

    private func count(_ kind: RequestKind) {
        state.withLock { $0.counts[kind, default: 0] += 1 }
    }
}

/// What tests do beside the device's own calls; none of it is counted.
extension MemoryDevice {
    /// Number of calls by kind, failed ones too.
    package var counts: [RequestKind: Int] { state.withLock { $0.counts } }

    /// Content of this layer; unallocated ranges are zero here.
    package var snapshot: SparseBytes { state.withLock { $0.content } }

    package var statuses: RangeStatusMap { state.withLock { $0.statuses } }

    /// Replaces content and length; all of it becomes data.
    package func restore(_ content: SparseBytes) {
        state.withLock { state in
            state.content = content
            state.statuses = RangeStatusMap(length: content.length, status: .data)
        }
    }

    /// Puts bytes into the device, even into a read-only one; they become data.
    package func fill(_ bytes: [UInt8], at offset: UInt64) {
        state.withLock { state in
            state.content.write(bytes.span.bytes, at: offset)
            state.statuses.set(offset..<offset + UInt64(bytes.count), to: .data)
        }
    }

    /// Changes what the device says about a range. `zero` and `unallocated` empty it as well.
    package func setStatus(_ status: RangeStatus, of range: Range<UInt64>) {
        state.withLock { state in
            if status == .zero || status == .unallocated { state.content.zero(range) }
            state.statuses.set(range, to: status)
        }
    }
}
