// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import TestSupport

/// A disk that cancels the task which makes a certain request, and counts what is still asked of it afterwards.
final class CancellingDevice: StorageWrapper {
    private struct State {
        var requests = 0
        var cancelled = false
        var afterwards = 0
    }

    let storage: any Storage
    /// Number of the request at which to cancel, from 1; 0 for none.
    private let number: Int
    private let state = Locked(State())

    init(_ disk: any Storage, cancellingAt number: Int) {
        storage = disk
        self.number = number
    }

    var requestCount: Int { state.withLock { $0.requests } }
    /// Requests that were answered although the task was cancelled.
    var afterwards: Int { state.withLock { $0.afterwards } }

    private func note() {
        let cancels = state.withLock { state in
            state.requests += 1
            if state.cancelled { state.afterwards += 1 }
            guard state.requests == number else { return false }
            state.cancelled = true
            return true
        }
        if cancels { withUnsafeCurrentTask { $0?.cancel() } }
    }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) async throws(BlockError) {
        try await storage.read(at: offset, into: &buffer)
        note()
    }

    func blockStatus(
        at offset: UInt64, length: UInt64, in scope: BlockStatusScope
    ) async throws(BlockError) -> BlockExtent {
        let extent = try await storage.blockStatus(at: offset, length: length, in: scope)
        note()
        return extent
    }

    func write(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        try await storage.write(at: offset, from: buffer)
        note()
    }

    func writeZeroes(at offset: UInt64, length: UInt64) async throws(BlockError) {
        try await storage.writeZeroes(at: offset, length: length)
        note()
    }

    func flush() async throws(BlockError) {
        try await storage.flush()
        note()
    }

    func resize(to length: UInt64) async throws(BlockError) {
        try await storage.resize(to: length)
        note()
    }
}
