// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// Goes through a manifest's body once, from its beginning to its end, in pieces.
struct BodyReader: ~Copyable {
    private let device: any BlockDevice
    private let algorithm: DigestAlgorithm
    /// What is still to be read, in bytes of the file.
    private var rest: Range<UInt64>
    /// Adds up what was read.
    private var root: DigestStream

    init(_ device: any BlockDevice, _ body: Range<UInt64>, _ algorithm: DigestAlgorithm, root: consuming DigestStream) {
        self.device = device
        self.algorithm = algorithm
        rest = body
        self.root = root
    }

    var isAtEnd: Bool { rest.isEmpty }

    /// The digest of all that was read.
    var digest: Digest { root.digest() }

    /// Reads a section.
    ///
    /// - Parameters:
    ///   - parser: at its beginning.
    ///   - seal: all that is read is added.
    /// - Returns: `nil` for what is no such section.
    mutating func section(
        _ parser: StretchParser, _ seal: inout DigestStream
    ) async throws(BlockError) -> StretchSection? {
        var parser = parser
        var pieces: [StretchSection.Piece] = []
        var count: UInt64 = 0
        while !parser.isOver {
            // Bounded by the piece's length.
            let length = Int(min(UInt64(StretchSection.pieceLength), rest.upperBound - rest.lowerBound))
            let bytes = try await device.contents(at: rest.lowerBound, count: length)
            let before = parser
            let isLast = rest.lowerBound + UInt64(length) == rest.upperBound
            guard
                let taken = parser.take(
                    from: bytes.span.bytes, isLast: isLast,
                    visit: { things, _ in count &+= things.upperBound - things.lowerBound }),
                taken > 0
            else { return nil }
            let part = bytes.span.bytes.extracting(0..<taken)
            take(part, &seal)
            pieces.append(
                StretchSection.Piece(
                    offset: rest.lowerBound - UInt64(taken), length: taken, parser: before,
                    digest: algorithm.digest(of: part)))
        }
        return StretchSection(device, algorithm, pieces: pieces, count: count)
    }

    /// Reads what is left, whatever it is.
    mutating func skipToEnd(_ seal: inout DigestStream) async throws(BlockError) {
        while !rest.isEmpty {
            // Bounded by the length of what is skipped at a time.
            let length = Int(min(Self.skippedLength, rest.upperBound - rest.lowerBound))
            let bytes = try await device.contents(at: rest.lowerBound, count: length)
            take(bytes.span.bytes, &seal)
        }
    }

    private mutating func take(_ bytes: RawSpan, _ seal: inout DigestStream) {
        seal.add(bytes)
        root.add(bytes)
        rest = rest.lowerBound + UInt64(bytes.byteCount)..<rest.upperBound
    }

    private static let skippedLength: UInt64 = 1 << 20
}
