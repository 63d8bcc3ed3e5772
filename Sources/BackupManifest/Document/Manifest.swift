// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import FoundationEssentials

/// The document that proves a backup: what it is, and digests of all that it holds.
///
/// Its file is a line that names the format and its version, a line of JSON (`ManifestHeader`), the digests in binary
/// form (`ContentDigests`), and last the seal: the digest of all bytes before it. The seal shows every accident. It keeps
/// nobody from making another manifest for another backup; for that, sign the file.
package struct Manifest: Sendable {
    package let header: ManifestHeader
    package let digests: ContentDigests

    /// What the name of a backup's manifest ends with.
    package static let suffix = ".manifest"
    /// Bytes of the longest first two lines. Those that are written are much shorter.
    package static let maximumHeadLength = 1 << 20

    static let magic = "qcowbackup manifest "
    static let version = "1"

    /// Whether a file that begins so claims to be a manifest, of whatever version.
    package static func isManifest(_ bytes: [UInt8]) -> Bool {
        bytes.starts(with: magic.utf8)
    }

    /// Reads the first two lines.
    ///
    /// - Parameters:
    ///   - bytes: the document, or at least its first `maximumHeadLength` bytes.
    ///   - length: length of the document in bytes.
    /// - Returns: the header, and where the digests begin.
    package static func header(
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

    /// Reads the document in a file, all of it: nothing that it says counts before its seal is known to fit. The file stays
    /// in use, and what is read of it again is proven again.
    package init(reading file: any BlockDevice) async throws(ManifestError) {
        let (header, body, algorithm) = try await Self.parts(of: file)
        let digests: ContentDigests?
        let isSealed: Bool
        do throws(BlockError) {
            var seal = try await Self.sealOfHead(file, body.lowerBound, algorithm)
            digests = try await ContentDigests(
                reading: file, body, algorithm, virtualSize: header.virtualSize, isWhole: header.isWhole, &seal)
            isSealed = try await Self.isSeal(seal.digest(), of: file, at: body.upperBound)
        } catch {
            throw .unreadable(error)
        }
        guard isSealed else { throw .brokenSeal }
        guard let digests, digests.root.description == header.content else { throw .badBody }
        self.header = header
        self.digests = digests
    }
}
