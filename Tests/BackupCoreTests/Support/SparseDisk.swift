// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// A disk of any length that reads as zeroes and whose few allocated stretches are the only thing it stores.
final class SparseDisk: BlockDevice {
    let length: UInt64
    /// Allocated stretches in order: data that happens to be zero.
    let data: [Range<UInt64>]
    private let counts = Locked<[String: Int]>([:])

    init(length: UInt64, data: [Range<UInt64>] = []) {
        self.length = length
        self.data = data
    }

    var name: String { "sparse" }
    var capabilities: DeviceCapabilities { DeviceCapabilities(isReadOnly: false) }

    /// Number of calls of each kind.
    var calls: [String: Int] { counts.withLock { $0 } }

    private func count(_ call: String) {
        counts.withLock { $0[call, default: 0] += 1 }
    }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) async throws(BlockError) {
        count("read")
        try checkRange(at: offset, length: UInt64(buffer.byteCount))
        buffer.clear()
    }

    func blockStatus(
        at offset: UInt64, length: UInt64, in scope: BlockStatusScope
    ) async throws(BlockError) -> BlockExtent {
        count("blockStatus")
        try checkRange(at: offset, length: length)
        for stretch in data where stretch.upperBound > offset {
            if stretch.contains(offset) {
                return BlockExtent(
                    length: min(length, stretch.upperBound - offset), isAllocated: true, readsAsZero: false)
            }
            return BlockExtent(
                length: min(length, stretch.lowerBound - offset), isAllocated: false, readsAsZero: scope == .chain)
        }
        return BlockExtent(length: length, isAllocated: false, readsAsZero: scope == .chain)
    }

    func write(at offset: UInt64, from buffer: RawSpan) async throws(BlockError) {
        count("write")
        try checkRange(at: offset, length: UInt64(buffer.byteCount))
    }

    func writeZeroes(at offset: UInt64, length: UInt64) async throws(BlockError) {
        count("writeZeroes")
        try checkRange(at: offset, length: length)
    }
}
