// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps
import SystemPackage
import TestSupport

/// A disk in memory with a layout, a list of the calls made, and faults to come.
final class TestDisk: BlockDevice {
    enum Operation: Sendable, CaseIterable {
        case clusterSize, read, blockStatus, write, writeCompressed, writeZeroes, copyRange, discard, flush
    }

    struct Call: Sendable, Equatable {
        var operation: Operation
        var range: Range<UInt64>
    }

    /// What block status says about a stretch of the disk.
    enum Kind: Sendable, CaseIterable {
        /// Allocated in the top layer.
        case data, zero
        /// Left to the backing file, or to nothing.
        case backingData, unallocated

        var isAllocated: Bool { self == .data || self == .zero }
        var readsAsZero: Bool { self == .zero || self == .unallocated }
    }

    struct Stretch: Sendable {
        var length: UInt64
        var kind: Kind
    }

    private struct State {
        var bytes: [UInt8]
        /// What was written since the disk was made: allocated, whatever the layout says.
        var changed: DirtyBitmap
        var calls: [Call] = []
        var counts: [Operation: Int] = [:]
        var outOfRange = 0
        var gathered: [Operation: [Int]] = [:]
        var faults: [Operation: [Int: Errno]] = [:]
        var hangs: [Operation: [Int: @Sendable () async -> Void]] = [:]
    }

    let name: String
    let length: UInt64
    let capabilities: DeviceCapabilities
    let layout: [Stretch]
    /// Where the bytes of the disk are stored as they are, for offload.
    let storage: TestStorage?
    private let reportedClusterSize: Result<UInt64, BlockError>
    private let state: Locked<State>
    /// Called before each call does its work.
    let onCall: (@Sendable (Call) async -> Void)?

    init(
        name: String = "disk", bytes: [UInt8], layout: [Stretch] = [],
        capabilities: DeviceCapabilities = DeviceCapabilities(isReadOnly: false),
        clusterSize: Result<UInt64, BlockError> = .success(0), storage: TestStorage? = nil,
        onCall: (@Sendable (Call) async -> Void)? = nil
    ) {
        self.name = name
        self.length = UInt64(bytes.count)
        self.layout = layout.isEmpty ? [Stretch(length: UInt64(bytes.count), kind: .data)] : layout
        self.capabilities = capabilities
        self.storage = storage
        reportedClusterSize = clusterSize
        let changed = try! DirtyBitmap(length: UInt64(bytes.count), granularity: 512)
        state = Locked(State(bytes: bytes, changed: changed))
        self.onCall = onCall
    }

    var bytes: [UInt8] { state.withLock { $0.bytes } }
    /// Number of requests that did not lie on the disk.
    var outOfRange: Int { state.withLock { $0.outOfRange } }
    var calls: [Call] { state.withLock { $0.calls } }
    /// Number of pieces of each call that read or wrote several.
    func gathered(_ operation: Operation) -> [Int] { state.withLock { $0.gathered[operation] ?? [] } }
    func calls(_ operation: Operation) -> [Call] { calls.filter { $0.operation == operation } }

    /// Lets the nth call of a kind, counted from 1, fail.
    func fail(_ operation: Operation, call: Int, with errno: Errno) {
        state.withLock { $0.faults[operation, default: [:]][call] = errno }
    }

    /// Lets every call of a kind fail.
    func failAlways(_ operation: Operation, with errno: Errno) {
        fail(operation, call: 0, with: errno)
    }

    /// Holds the nth call of a kind up until `wait` returns.
    func hang(_ operation: Operation, call: Int, _ wait: @escaping @Sendable () async -> Void) {
        state.withLock { $0.hangs[operation, default: [:]][call] = wait }
    }

    private func enter(_ operation: Operation, _ offset: UInt64, _ length: UInt64) async throws(BlockError) {
        do {
            try checkRange(at: offset, length: length)
        } catch {
            state.withLock { $0.outOfRange += 1 }
            throw error
        }
        let call = Call(operation: operation, range: offset..<offset + length)
        await onCall?(call)
        let number = state.withLock { state in
            state.calls.append(call)
            state.counts[operation, default: 0] += 1
            return state.counts[operation]!
        }
        let hang: (@Sendable () async -> Void)? = state.withLock { $0.hangs[operation]?[number] }
        await hang?()
        let errno: Errno? = state.withLock { state in
            let faults = state.faults[operation]
            return faults?[0] ?? faults?[number]
        }
        if let errno {
            throw .system(
                SystemCallError(call: "\(operation)", errno: errno, path: name, offset: offset, length: length))
        }
    }

    func clusterSize() async throws(BlockError) -> UInt64 {
        try reportedClusterSize.get()
    }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) async throws(BlockError) {
        try await enter(.read, offset, UInt64(buffer.byteCount))
        let bytes = bytes
        bytes.withUnsafeBytes { bytes in
            let start = Int(offset)
            buffer.withUnsafeMutableBytes { buffer in
                buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[start..<start + buffer.count]))
            }
        }
    }

    func blockStatus(
        at offset: UInt64, length: UInt64, in scope: BlockStatusScope
    ) async throws(BlockError) -> BlockExtent {
        try await enter(.blockStatus, offset, length)
        // How far the layout still holds, or no longer does.
        let (isChanged, same): (Bool, UInt64) = state.withLock { state in
            let isChanged = state.changed.isDirty(at: offset)
            let limit = offset + length
            let end =
                isChanged
                ? state.changed.nextClean(from: offset, limit: limit)
                : state.changed.nextDirty(from: offset, limit: limit)
            return (isChanged, (end ?? limit) - offset)
        }
        if isChanged { return BlockExtent(length: same, isAllocated: true, readsAsZero: false) }
        let length = same
        var start: UInt64 = 0
        for stretch in layout {
            let end = start + stretch.length
            if offset < end {
                let kind = stretch.kind
                let isAllocated = kind.isAllocated || (scope == .chain && kind == .backingData)
                var location: StorageLocation?
                if let storage, kind == .data { location = StorageLocation(device: storage, offset: offset) }
                return BlockExtent(
                    length: min(length, end - offset), isAllocated: isAllocated,
                    readsAsZero: scope == .chain ? kind.readsAsZero : kind == .zero, location: location)
            }
            start = end
        }
        throw .outOfRange(device: name, offset: offset, length: length, deviceLength: self.length)
    }

    func write(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        try await enter(.write, offset, UInt64(buffer.byteCount))
        store(buffer, at: offset)
    }

    func read(_ pieces: [TransferPiece], into buffer: inout MutableRawSpan) async throws(TransferError) {
        state.withLock { $0.gathered[.read, default: []].append(pieces.count) }
        for (index, piece) in pieces.enumerated() {
            var part = buffer.slice(piece.slice)
            do throws(BlockError) {
                try await read(at: piece.offset, into: &part)
            } catch {
                throw TransferError(index: index, underlying: error)
            }
        }
    }

    func write(_ pieces: [TransferPiece], from buffer: RawSpan) async throws(TransferError) {
        state.withLock { $0.gathered[.write, default: []].append(pieces.count) }
        for (index, piece) in pieces.enumerated() {
            do throws(BlockError) {
                try await write(at: piece.offset, from: buffer.extracting(piece.slice))
            } catch {
                throw TransferError(index: index, underlying: error)
            }
        }
    }

    func writeCompressed(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        let unit = (try? reportedClusterSize.get()) ?? 0
        let end = offset + UInt64(buffer.byteCount)
        if unit > 0, offset % unit != 0 || (end % unit != 0 && end != length) {
            throw .unsupported(operation: "compressed writes of partial clusters", device: name)
        }
        try await enter(.writeCompressed, offset, UInt64(buffer.byteCount))
        store(buffer, at: offset)
    }

    private func store(_ buffer: RawSpan, at offset: UInt64) {
        let copy = buffer.withUnsafeBytes { [UInt8]($0) }
        state.withLock { state in
            state.bytes.replaceSubrange(Int(offset)..<Int(offset) + copy.count, with: copy)
            state.changed.set(offset..<offset + UInt64(copy.count))
        }
    }

    func writeZeroes(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try await enter(.writeZeroes, offset, length)
        fill(offset, length, with: 0)
    }

    private func fill(_ offset: UInt64, _ length: UInt64, with byte: UInt8) {
        state.withLock { state in
            state.changed.set(offset..<offset + length)
            state.bytes.withUnsafeMutableBytes { bytes in
                _ = bytes[Int(offset)..<Int(offset + length)].initializeMemory(as: UInt8.self, repeating: byte)
            }
        }
    }

    func copyRange(
        from source: StorageLocation, to offset: UInt64, length: UInt64
    ) async throws(BlockError) -> RangeCopy {
        try await enter(.copyRange, offset, length)
        guard let storage = source.device as? TestStorage else {
            throw .unsupported(operation: "copy offload", device: name)
        }
        let copy = storage.bytes[Int(source.offset)..<Int(source.offset + length)]
        state.withLock { $0.bytes.replaceSubrange(Int(offset)..<Int(offset + length), with: copy) }
        return .copied
    }

    func discard(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try await enter(.discard, offset, length)
        // Whoever reads this relied on what was given up.
        fill(offset, length, with: 0xDD)
    }

    func flush() async throws(BlockError) {
        try await enter(.flush, 0, 0)
    }
}
