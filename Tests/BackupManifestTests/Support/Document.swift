// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import TestSupport

@testable import BackupManifest

/// A manifest to be written.
struct Document {
    var header: ManifestHeader
    let content: RecordedContent

    /// - Parameter scratch: a file from which the content is still read.
    func encoded(in scratch: MemoryDevice? = nil, scratchLength: UInt64 = 0) async throws -> [UInt8] {
        let file = scratch ?? MemoryDevice(length: 0)
        try await Manifest.write(header, content, to: file, scratchLength: scratchLength)
        return try await file.contents(at: 0, count: Int(file.length))
    }
}

extension Manifest {
    init(decoding bytes: [UInt8]) async throws(ManifestError) {
        try await self.init(reading: MemoryDevice(bytes: bytes))
    }
}

extension RecordedContent {
    var isWhole: Bool { layer == nil }

    /// The manifest's body.
    func encoded() async throws -> [UInt8] {
        var bytes: [UInt8] = []
        try await encode { bytes += $0 }
        return bytes
    }

    /// The same, as it is read from a manifest.
    func digests() async throws -> ContentDigests {
        let bytes = try await encoded()
        guard
            let digests = try await ContentDigests(
                decoding: bytes, algorithm: algorithm, virtualSize: geometry.virtualSize, isWhole: isWhole)
        else { throw NotADocument() }
        return digests
    }
}

struct NotADocument: Error {}

extension ContentDigests {
    /// - Returns: `nil` for what is no manifest's body.
    init?(decoding bytes: [UInt8], algorithm: DigestAlgorithm, virtualSize: UInt64, isWhole: Bool) async throws {
        var seal = DigestStream(algorithm)
        let file = MemoryDevice(bytes: bytes)
        try await self.init(
            reading: file, 0..<UInt64(bytes.count), algorithm, virtualSize: virtualSize, isWhole: isWhole, &seal)
        // Whatever it is, all of it is sealed.
        guard seal.digest() == algorithm.digest(of: bytes.span.bytes) else { throw NotADocument() }
    }

    /// The body again, from what is read of it bit by bit.
    func encoded() async throws -> [UInt8] {
        var bytes: [UInt8] = []
        if let layer { bytes += try await Self.encoded(layer) { _ in [] } }
        bytes += try await Self.encoded(data) { range in
            var digest: [UInt8] = []
            try await data.digest(of: range)?.append(to: &digest)
            return digest
        }
        return bytes
    }

    private static func encoded(
        _ section: StretchSection, _ digest: (UInt64) async throws -> [UInt8]
    ) async throws -> [UInt8] {
        var stretches: [Range<UInt64>] = []
        var position: UInt64 = 0
        while let part = try await section.next(from: position) {
            if let last = stretches.last, last.upperBound == part.lowerBound {
                stretches[stretches.count - 1] = last.lowerBound..<part.upperBound
            } else {
                stretches.append(part)
            }
            position = part.upperBound
        }
        var (bytes, end): ([UInt8], UInt64) = ([], 0)
        for stretch in stretches {
            bytes += number(stretch.lowerBound - end) + number(stretch.upperBound - stretch.lowerBound)
            end = stretch.upperBound
            // Of a section without digests a stretch may be as long as any disk.
            guard try await !digest(stretch.lowerBound).isEmpty else { continue }
            for thing in stretch { bytes += try await digest(thing) }
        }
        return bytes + [0, 0]
    }

    static func number(_ value: UInt64) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = value
        repeat {
            bytes.append(UInt8(rest & 0x7f) | (rest > 0x7f ? 0x80 : 0))
            rest >>= 7
        } while rest > 0
        return bytes
    }
}
