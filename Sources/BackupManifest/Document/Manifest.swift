// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import FoundationEssentials

/// The document that proves a backup: what it is, and digests of all that it holds.
///
/// Its file is a line that names the format and its version, a line of JSON (`ManifestHeader`), the digests in binary
/// form (`ContentDigests`), and last the seal: the digest of all bytes before it. The seal shows every accident. It keeps
/// nobody from making another manifest for another backup; for that, sign the file.
public struct Manifest: Sendable {
    public let header: ManifestHeader
    public let digests: ContentDigests

    /// What the name of a backup's manifest ends with.
    public static let suffix = ".manifest"
    /// Bytes of the longest first two lines. Those that are written are much shorter.
    public static let maximumHeadLength = 1 << 20

    private static let magic = "qcowbackup manifest "
    private static let version = "1"

    public init(header: ManifestHeader, digests: ContentDigests) {
        var header = header
        var bodyLength = 0
        digests.encode { bodyLength += $0.count }
        header.bodyLength = UInt64(bodyLength)
        self.header = header
        self.digests = digests
    }

    /// The bytes of the document.
    public func encoded() -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .iso8601
        let json: Data
        do {
            json = try encoder.encode(header)
        } catch {
            preconditionFailure("text and numbers can be encoded: \(error)")
        }
        var bytes = Array("\(Self.magic)\(Self.version)\n".utf8)
        bytes += json
        bytes.append(UInt8(ascii: "\n"))
        digests.encode { bytes += $0 }
        digests.algorithm.digest(of: bytes.span.bytes).append(to: &bytes)
        return bytes
    }

    /// Whether a file that begins so claims to be a manifest, of whatever version.
    public static func isManifest(_ bytes: [UInt8]) -> Bool {
        bytes.starts(with: magic.utf8)
    }

    /// Reads the first two lines.
    ///
    /// - Parameters:
    ///   - bytes: the document, or at least its first `maximumHeadLength` bytes.
    ///   - length: length of the document in bytes.
    /// - Returns: the header, and where the digests begin.
    public static func header(
        in bytes: [UInt8], length: UInt64
    ) throws(ManifestError) -> (header: ManifestHeader, bodyOffset: Int) {
        guard isManifest(bytes) else { throw .notAManifest }
        let newline = UInt8(ascii: "\n")
        let rest = bytes.prefix(maximumHeadLength).dropFirst(magic.utf8.count)
        guard let lineEnd = rest.firstIndex(of: newline) else { throw .badHeader("its first line has no end") }
        let found = String(decoding: rest[..<lineEnd], as: UTF8.self)
        guard found == version else {
            guard let number = UInt32(found), number > 1 else { throw .notAManifest }
            throw .newerVersion(found)
        }
        guard let jsonEnd = rest[(lineEnd + 1)...].firstIndex(of: newline) else {
            throw .badHeader("its second line has no end")
        }
        let header: ManifestHeader
        do {
            let decoder = JSONDecoder()
            decoder.dateDecodingStrategy = .iso8601
            header = try decoder.decode(ManifestHeader.self, from: Data(rest[(lineEnd + 1)..<jsonEnd]))
        } catch {
            throw .badHeader("its second line is not the JSON that is expected")
        }
        guard let algorithm = DigestAlgorithm(rawValue: header.digest) else { throw .unknownDigest(header.digest) }
        guard header.rangeLength == ContentGeometry.rangeLength, header.unitLength == ContentGeometry.unitLength,
            header.virtualSize <= UInt64(Int64.max)
        else { throw .badHeader("its sizes are not those of this format") }
        guard header.bodyLength <= maximumBodyLength(header, algorithm) else {
            throw .badHeader("its sizes are not those of this format")
        }
        guard let expected = header.bodyLength.adding(UInt64(jsonEnd + 1 + algorithm.length)) else {
            throw .badHeader("its sizes are not those of this format")
        }
        guard expected == length else { throw .wrongLength(found: length, expected: expected) }
        return (header, jsonEnd + 1)
    }

    /// Most bytes that the digests of such a disk can take: a digest for each range, and two numbers for each stretch.
    private static func maximumBodyLength(_ header: ManifestHeader, _ algorithm: DigestAlgorithm) -> UInt64 {
        let geometry = ContentGeometry(virtualSize: header.virtualSize)
        let stretch: UInt64 = 20
        let ranges = (geometry.rangeCount + 1).multiplied(by: UInt64(algorithm.length) + stretch)
        let units = header.isWhole ? 0 : (geometry.unitCount + 1).multiplied(by: stretch)
        return ranges.flatMap { ranges in units.flatMap { ranges.adding($0) } } ?? .max
    }

    /// Reads a whole document.
    public init(decoding bytes: [UInt8]) throws(ManifestError) {
        let (header, offset) = try Self.header(in: bytes, length: UInt64(bytes.count))
        guard let algorithm = DigestAlgorithm(rawValue: header.digest) else { throw .unknownDigest(header.digest) }
        // The header's lengths are those of the bytes that are here.
        let end = bytes.count - algorithm.length
        let span = bytes.span.bytes
        guard algorithm.digest(of: span.extracting(0..<end)) == Digest(bytes: span.extracting(end..<bytes.count)) else {
            throw .brokenSeal
        }
        guard
            let digests = ContentDigests(
                decoding: span.extracting(offset..<end), algorithm: algorithm, virtualSize: header.virtualSize,
                isWhole: header.isWhole),
            digests.root.description == header.content
        else { throw .badBody }
        self.header = header
        self.digests = digests
    }
}
