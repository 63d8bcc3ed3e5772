// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// A section of a manifest's body, read where something of it is asked for.
///
/// Kept are places to begin to read at, one for each 32 KiB, with the digest of what is there, and the last few pieces
/// that were read: so memory is less than a thousandth of the file, whatever it claims to describe.
final class StretchSection: Sendable {
    /// A piece of the section that can be read by itself.
    struct Piece: Sendable {
        /// In bytes of the file.
        let offset: UInt64
        let length: Int
        /// How far it was before this piece.
        let parser: StretchParser
        /// Of the bytes, as the seal was checked with them.
        let digest: Digest
    }

    /// A piece that was read.
    private struct Content: Sendable {
        let index: Int
        let bytes: [UInt8]
        /// In order, with where the digests of each begin.
        let stretches: [(things: Range<UInt64>, digests: Int)]
    }

    private let device: any BlockDevice
    private let algorithm: DigestAlgorithm
    private let pieces: [Piece]
    /// The last one that was used is the last one.
    private let cache = Locked<[Content]>([])

    /// Number of things in all stretches.
    let count: UInt64

    /// Number of places to begin at.
    var pieceCount: Int { pieces.count }

    /// Longest piece in bytes.
    static let pieceLength = 32 << 10
    /// Pieces that are kept.
    private static let cachedPieces = 4

    init(_ device: any BlockDevice, _ algorithm: DigestAlgorithm, pieces: [Piece], count: UInt64) {
        self.device = device
        self.algorithm = algorithm
        self.pieces = pieces
        self.count = count
    }

    /// The first stretch, or part of one, that ends after a thing.
    func next(from thing: UInt64) async throws(BlockError) -> Range<UInt64>? {
        try await find(thing)?.things
    }

    /// The digest of a thing; `nil` where it is in no stretch.
    func digest(of thing: UInt64) async throws(BlockError) -> Digest? {
        guard let found = try await find(thing), found.things.contains(thing) else { return nil }
        // Inside a piece, so it fits.
        let start = found.digests + Int(thing - found.things.lowerBound) * algorithm.length
        return Digest(bytes: found.content.bytes.span.bytes.extracting(start..<start + algorithm.length))
    }

    private func find(
        _ thing: UInt64
    ) async throws(BlockError) -> (things: Range<UInt64>, digests: Int, content: Content)? {
        // The last piece before which all things are before this one.
        var index = max(pieces.partitioningIndex { $0.parser.position > thing } - 1, 0)
        while index < pieces.count {
            let content = try await content(index)
            let place = content.stretches.partitioningIndex { $0.things.upperBound > thing }
            if place < content.stretches.count {
                let found = content.stretches[place]
                return (found.things, found.digests, content)
            }
            index += 1
        }
        return nil
    }

    private func content(_ index: Int) async throws(BlockError) -> Content {
        let known: Content? = cache.withLock { cache in
            guard let place = cache.firstIndex(where: { $0.index == index }) else { return nil }
            let content = cache.remove(at: place)
            cache.append(content)
            return content
        }
        if let known { return known }
        let piece = pieces[index]
        let bytes = try await device.contents(at: piece.offset, count: piece.length)
        guard algorithm.digest(of: bytes.span.bytes) == piece.digest else {
            throw .layer(ManifestChange(path: device.name))
        }
        var parser = piece.parser
        var stretches: [(things: Range<UInt64>, digests: Int)] = []
        // To its last byte, which a longer look from there would have taken too.
        _ = parser.take(from: bytes.span.bytes, isLast: true) { stretches.append(($0, $1)) }
        let content = Content(index: index, bytes: bytes, stretches: stretches)
        cache.withLock { cache in
            if cache.count >= Self.cachedPieces { cache.removeFirst() }
            cache.append(content)
        }
        return content
    }
}

extension Array {
    /// The first place from which on all elements are `isBehind`, which none before are.
    fileprivate func partitioningIndex(where isBehind: (Element) -> Bool) -> Int {
        var range = 0..<count
        while !range.isEmpty {
            let middle = (range.lowerBound + range.upperBound) / 2
            range = isBehind(self[middle]) ? range.lowerBound..<middle : middle + 1..<range.upperBound
        }
        return range.lowerBound
    }
}
