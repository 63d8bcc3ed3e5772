// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// Passes every call on to another device, except those that a rule lets fail, and remembers what was written.
///
/// A failing call never reaches the device below. A power cut is a view: calls after it still succeed and are read
/// back, as from a cache, but `persisted` does not have them.
package final class FaultInjectingDevice: StorageWrapper {
    private struct State: Sendable {
        var faults: [Fault] = []
        var counts: [RequestKind: Int] = [:]
        var recording: Recording?
        /// Mutations so far, of all kinds, and how many of them a power cut lets through.
        var mutations = 0
        var persistedMutations = Int.max
        var persisted: SparseBytes?
    }

    /// The device that does the work.
    package let storage: any Storage
    /// Called before each request that is not made to fail, and waited for; tests hold requests up with it.
    private let beforeRequest: (@Sendable (RequestKind, Range<UInt64>) async -> Void)?
    private let state: Locked<State>

    package init(
        _ base: any Storage, faults: [Fault] = [],
        beforeRequest: (@Sendable (RequestKind, Range<UInt64>) async -> Void)? = nil
    ) {
        storage = base
        self.beforeRequest = beforeRequest
        state = Locked(State(faults: faults))
    }

    package func read(at offset: UInt64, into buffer: inout MutableRawSpan) async throws(BlockError) {
        try await begin(.read, at: offset, length: UInt64(buffer.byteCount))
        try await storage.read(at: offset, into: &buffer)
    }

    package func blockStatus(
        at offset: UInt64, length: UInt64, in scope: BlockStatusScope
    ) async throws(BlockError) -> BlockExtent {
        try await begin(.blockStatus, at: offset, length: length)
        var extent = try await storage.blockStatus(at: offset, length: length, in: scope)
        // Reads and copies from the location are to go through the rules too.
        if let location = extent.location, location.device === storage {
            extent.location = StorageLocation(device: self, offset: location.offset)
        }
        return extent
    }

    package func write(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        try await begin(.write, at: offset, length: UInt64(buffer.byteCount))
        try await storage.write(at: offset, from: buffer)
        end(.write(offset: offset, bytes: buffer.withUnsafeBytes { [UInt8]($0) }))
    }

    package func writeCompressed(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        try await begin(.writeCompressed, at: offset, length: UInt64(buffer.byteCount))
        try await storage.writeCompressed(at: offset, from: buffer)
        end(.write(offset: offset, bytes: buffer.withUnsafeBytes { [UInt8]($0) }))
    }

    package func writeZeroes(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try await begin(.writeZeroes, at: offset, length: length)
        try await storage.writeZeroes(at: offset, length: length)
        end(.zeroes(offset..<offset + length))
    }

    package func copyRange(
        from source: StorageLocation, to offset: UInt64, length: UInt64
    ) async throws(BlockError) -> RangeCopy {
        try await begin(.copyRange, at: offset, length: length)
        let way = try await storage.copyRange(from: source, to: offset, length: length)
        if isRecording {
            var copied = AlignedBuffer(count: Int(length))
            var bytes = copied.mutableBytes
            try await storage.read(at: offset, into: &bytes)
            end(.write(offset: offset, bytes: copied.bytes.withUnsafeBytes { [UInt8]($0) }))
        }
        return way
    }

    package func discard(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try await begin(.discard, at: offset, length: length)
        try await storage.discard(at: offset, length: length)
        end(.zeroes(offset..<offset + length))
    }

    package func flush() async throws(BlockError) {
        try await begin(.flush, at: 0, length: 0)
        try await storage.flush()
        end(.flush)
    }

    package func resize(to length: UInt64) async throws(BlockError) {
        try await begin(.resize, at: 0, length: length)
        try await storage.resize(to: length)
        end(.resize(length: length))
    }

    private func begin(_ kind: RequestKind, at offset: UInt64, length: UInt64) async throws(BlockError) {
        let fault = state.withLock { state in
            let number = state.counts[kind, default: 0] + 1
            state.counts[kind] = number
            return state.faults.first { $0.kind == kind && $0.calls.contains(number) }
        }
        if let fault {
            throw .system(
                SystemCallError(
                    call: "injected \(kind.rawValue)", errno: fault.errno, path: name, offset: offset, length: length))
        }
        await beforeRequest?(kind, offset..<offset + length)
    }

    private var isRecording: Bool { state.withLock { $0.recording != nil || $0.persisted != nil } }

    private func end(_ request: RecordedRequest) {
        state.withLock { state in
            state.recording?.requests.append(request)
            if request.isFlush { return }
            state.mutations += 1
            if state.mutations <= state.persistedMutations, var persisted = state.persisted.take() {
                request.apply(to: &persisted)
                state.persisted = persisted
            }
        }
    }
}

/// What tests do beside the device's own calls.
extension FaultInjectingDevice {
    /// Number of calls by kind, those that were made to fail too.
    package var counts: [RequestKind: Int] { state.withLock { $0.counts } }

    /// Replaces the rules. Numbers go on counting from the device's first call, so see `counts`.
    package func setFaults(_ faults: [Fault]) {
        state.withLock { $0.faults = faults }
    }

    /// Starts recording, on a device that holds `initial` now.
    package func startRecording(initial: SparseBytes) {
        state.withLock { $0.recording = Recording(initial: initial) }
    }

    /// Requests since `startRecording`, in the order in which they ended.
    package var recording: Recording? { state.withLock { $0.recording } }

    /// Lets nothing that changes the disk persist after the next `count` such calls.
    ///
    /// - Parameter initial: what the device holds now.
    package func cutPower(afterMutations count: Int, initial: SparseBytes) {
        state.withLock { state in
            state.mutations = 0
            state.persistedMutations = count
            state.persisted = initial
        }
    }

    /// What survived the power cut; `nil` where none was set.
    package var persisted: SparseBytes? { state.withLock { $0.persisted } }
}
