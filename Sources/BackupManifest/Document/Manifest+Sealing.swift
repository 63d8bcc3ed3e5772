// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// The seal of a document.
extension Manifest {
    /// Reads what the document in a file says of its backup, once its seal is known to fit. Of its digests nothing is
    /// looked at but the seal over them.
    package static func sealedHeader(in file: any BlockDevice) async throws(ManifestError) -> ManifestHeader {
        let (header, body, algorithm) = try await parts(of: file)
        let isSealed: Bool
        do throws(BlockError) {
            var seal = try await sealOfHead(file, body.lowerBound, algorithm)
            var position = body.lowerBound
            while position < body.upperBound {
                let bytes = try await file.contents(
                    at: position, count: Int(min(pieceLength, body.upperBound - position)))
                seal.add(bytes.span.bytes)
                position += UInt64(bytes.count)
            }
            isSealed = try await isSeal(seal.digest(), of: file, at: body.upperBound)
        } catch {
            throw .unreadable(error)
        }
        guard isSealed else { throw .brokenSeal }
        return header
    }

    /// What the header says, where the body is in bytes of the file, and how it is digested: nothing to rely on yet.
    static func parts(
        of file: any BlockDevice
    ) async throws(ManifestError) -> (header: ManifestHeader, body: Range<UInt64>, algorithm: DigestAlgorithm) {
        let head: [UInt8]
        do throws(BlockError) {
            head = try await file.contents(at: 0, count: Int(min(file.length, UInt64(maximumHeadLength))))
        } catch {
            throw .unreadable(error)
        }
        let (header, offset) = try header(in: head, length: file.length)
        guard let algorithm = DigestAlgorithm(rawValue: header.digest) else { throw .unknownDigest(header.digest) }
        return (header, UInt64(offset)..<UInt64(offset) + header.bodyLength, algorithm)
    }

    static func sealOfHead(
        _ file: any BlockDevice, _ length: UInt64, _ algorithm: DigestAlgorithm
    ) async throws(BlockError) -> DigestStream {
        var seal = DigestStream(algorithm)
        // At most the longest head.
        let bytes = try await file.contents(at: 0, count: Int(length))
        seal.add(bytes.span.bytes)
        return seal
    }

    static func isSeal(_ digest: Digest, of file: any BlockDevice, at offset: UInt64) async throws(BlockError) -> Bool {
        let bytes = try await file.contents(at: offset, count: digest.length)
        return Digest(bytes: bytes.span.bytes) == digest
    }

    private static let pieceLength: UInt64 = 1 << 20
}
