// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// Reads tables of an image that may be damaged: what lies behind the end of the file reads as zeroes, as it does for
/// whoever uses the image.
struct CheckReader: Sendable {
    let file: any Storage
    /// Bytes of the file.
    let length: UInt64

    init(_ file: any Storage) {
        self.file = file
        length = file.length
    }

    func read(at offset: UInt64, into buffer: inout MutableRawSpan) async throws(BlockError) {
        try await file.readPadded(at: offset, into: &buffer, fileLength: length)
    }

    func bytes(at offset: UInt64, count: Int) async throws(BlockError) -> [UInt8] {
        try await file.paddedContents(at: offset, count: count, fileLength: length)
    }

    /// Big-endian words.
    func words(at offset: UInt64, count: Int) async throws(BlockError) -> [UInt64] {
        var words = [UInt64](repeating: 0, count: count)
        var span = words.mutableSpan
        var target = span.mutableBytes
        try await read(at: offset, into: &target)
        for index in words.indices { words[index] = UInt64(bigEndian: words[index]) }
        return words
    }
}
