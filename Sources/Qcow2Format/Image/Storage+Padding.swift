// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

extension Storage {
    /// Reads as if the file went on with zeroes behind its end.
    ///
    /// - Parameter fileLength: where the file ends, in bytes; `nil` for where it ends now.
    func readPadded(
        at offset: UInt64, into buffer: inout MutableRawSpan, fileLength: UInt64? = nil
    ) async throws(BlockError) {
        let count = buffer.byteCount
        let end = fileLength ?? length
        let stored = offset < end ? Int(min(UInt64(count), end - offset)) : 0
        if stored == count { return try await read(at: offset, into: &buffer) }
        if stored > 0 {
            var part = buffer.slice(0..<stored)
            try await read(at: offset, into: &part)
        }
        var rest = buffer.slice(stored..<count)
        rest.clear()
    }

    /// Bytes of the file, with zeroes for what lies behind its end.
    ///
    /// - Parameter fileLength: where the file ends, in bytes; `nil` for where it ends now.
    func paddedContents(
        at offset: UInt64, count: Int, fileLength: UInt64? = nil
    ) async throws(BlockError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var span = bytes.mutableSpan
        var target = span.mutableBytes
        try await readPadded(at: offset, into: &target, fileLength: fileLength)
        return bytes
    }
}
