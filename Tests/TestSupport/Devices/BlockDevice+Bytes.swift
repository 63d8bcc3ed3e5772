// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// Transfers in arrays, for tests.
extension BlockDevice {
    /// Reads `count` bytes into a new array.
    package func bytes(at offset: UInt64, count: Int) async throws(BlockError) -> [UInt8] {
        // Not zero, so that a read that fills nothing is seen.
        var bytes = [UInt8](repeating: 0xA5, count: count)
        var span = bytes.mutableSpan
        var raw = span.mutableBytes
        try await read(at: offset, into: &raw)
        return bytes
    }

    package func write(at offset: UInt64, bytes: [UInt8]) async throws(BlockError) {
        try await write(at: offset, from: bytes.span.bytes)
    }

    /// Block status of the whole range, extent by extent as the device gives it.
    package func extents(
        at offset: UInt64 = 0, length: UInt64? = nil, in scope: BlockStatusScope = .chain
    ) async throws(BlockError) -> [BlockExtent] {
        var extents: [BlockExtent] = []
        var position = offset
        let end = offset + (length ?? self.length - offset)
        while position < end {
            let extent = try await blockStatus(at: position, length: end - position, in: scope)
            precondition(extent.length > 0 && extent.length <= end - position, "\(name): extent of \(extent.length)")
            extents.append(extent)
            position += extent.length
        }
        return extents
    }
}
