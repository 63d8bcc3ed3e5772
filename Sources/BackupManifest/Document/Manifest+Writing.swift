// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import FoundationEssentials

/// Documents that are written.
extension Manifest {
    /// Writes the document of a backup to a file, and cuts the file off behind it. Nothing is flushed.
    ///
    /// - Parameters:
    ///   - header: with what `summary` says of `content`.
    ///   - scratchLength: bytes at the beginning of the file from which `content` is still read. The document is written
    ///     behind them first, and then moved.
    /// - Throws: also `ReadBackError`, where the file gives back other digests than were put there.
    package static func write(
        _ header: ManifestHeader, _ content: RecordedContent, to file: any Storage, scratchLength: UInt64 = 0
    ) async throws(BlockError) {
        let head = Array("\(magic)\(version)\n".utf8) + json(header) + [UInt8(ascii: "\n")]
        let length = UInt64(head.count) + header.bodyLength + UInt64(content.algorithm.length)
        try await file.resize(to: scratchLength + length)
        var seal = DigestStream(content.algorithm)
        var root = ContentDigests.rootStream(
            content.algorithm, virtualSize: content.geometry.virtualSize, isWhole: content.layer == nil)
        var position = scratchLength
        seal.add(head.span.bytes)
        try await file.write(at: position, from: head.span.bytes)
        position += UInt64(head.count)
        try await content.encode { (bytes) async throws(BlockError) in
            seal.add(bytes.span.bytes)
            root.add(bytes.span.bytes)
            try await file.write(at: position, from: bytes.span.bytes)
            position += UInt64(bytes.count)
        }
        guard root.digest().description == header.content else { throw .layer(ReadBackError(path: file.name)) }
        var tail: [UInt8] = []
        seal.digest().append(to: &tail)
        try await file.write(at: position, from: tail.span.bytes)
        guard scratchLength > 0 else { return }
        var check = DigestStream(content.algorithm)
        let sealed = length - UInt64(content.algorithm.length)
        var moved: UInt64 = 0
        // Towards the beginning, so that nothing is written over that isn't moved yet.
        while moved < length {
            let bytes = try await file.contents(
                at: scratchLength + moved, count: Int(min(movedLength, length - moved)))
            try await file.write(at: moved, from: bytes.span.bytes)
            check.add(bytes.span.bytes.extracting(first: Int(min(UInt64(bytes.count), sealed - min(moved, sealed)))))
            moved += UInt64(bytes.count)
        }
        guard check.digest() == seal.digest() else { throw .layer(ReadBackError(path: file.name)) }
        try await file.resize(to: length)
    }

    private static let movedLength: UInt64 = 1 << 20

    private static func json(_ header: ManifestHeader) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .iso8601
        do {
            return try Array(encoder.encode(header))
        } catch {
            preconditionFailure("text and numbers can be encoded: \(error)")
        }
    }
}
