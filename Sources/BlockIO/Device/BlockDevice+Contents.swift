// SPDX-License-Identifier: GPL-2.0-or-later

extension BlockDevice {
    /// Reads `count` bytes into an array: for headers and tables, whose length has been checked.
    ///
    /// - Throws: `BlockError.outOfRange` where the range does not lie on the disk; nothing is allocated then.
    public func contents(at offset: UInt64, count: Int) async throws(BlockError) -> [UInt8] {
        try checkRange(at: offset, length: UInt64(count))
        var bytes = [UInt8](repeating: 0, count: count)
        var span = bytes.mutableSpan
        var target = span.mutableBytes
        try await read(at: offset, into: &target)
        return bytes
    }
}
