// SPDX-License-Identifier: GPL-2.0-or-later

import TestSupport
import Testing

@testable import BackupManifest

/// Digests are those that everybody else's programs compute.
@Suite struct DigestTests {
    struct Known: Sendable, CustomTestStringConvertible {
        var name: String
        var bytes: [UInt8]
        /// As `xxhsum -H2` of version 0.8.1 prints it.
        var xxh3: String
        /// As `sha256sum` prints it.
        var sha256: String

        var testDescription: String { name }
    }

    private static func counting(_ count: Int) -> [UInt8] { (0..<count).map { UInt8($0 % 251) } }

    private static let known = [
        Known(
            name: "nothing", bytes: [], xxh3: "99aa06d3014798d86001c324468d497f",
            sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        Known(
            name: "a", bytes: Array("a".utf8), xxh3: "a96faf705af16834e6c632b61e964e1f",
            sha256: "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"),
        Known(
            name: "abc", bytes: Array("abc".utf8), xxh3: "06b05ab6733a618578af5f94892f3950",
            sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        Known(
            name: "512 zeroes", bytes: [UInt8](repeating: 0, count: 512), xxh3: "3258ca92e0a00944b2987a9d949e807c",
            sha256: "076a27c79e5ace2a3d47f9dd2e83e4ff6ea8872b3c2218f66c92b89b55f36560"),
        Known(
            name: "64 KiB of zeroes", bytes: [UInt8](repeating: 0, count: 65536),
            xxh3: "fd5ee061c8433a0f33b202d302b65caa",
            sha256: "de2f256064a0af797747c2b97505dc0b9f3df0de4f489eac731c23ae9ca9cc31"),
        Known(
            name: "1000 bytes counting up to 250", bytes: counting(1000), xxh3: "18bf41bc8229e27733ef703fb2b20ed1",
            sha256: "4e4c294b331f7a2099a379bec34b9f9fc03dc46ab465d998f4d683da53487e6d"),
        Known(
            name: "64 KiB counting up to 250", bytes: counting(65536), xxh3: "f5e7bc5d3d8675bfaaae63800707a868",
            sha256: "4b640d85ab3ba30fd02c9fc9db4a8928f416322ad27022ea58a65aaee68a4df2"),
    ]

    @Test(arguments: known, DigestAlgorithm.allCases)
    func digest(of known: Known, algorithm: DigestAlgorithm) throws {
        let expected = algorithm == .xxh3 ? known.xxh3 : known.sha256
        let digest = algorithm.digest(of: known.bytes.span.bytes)
        #expect(digest.description == expected)
        #expect(digest.length == algorithm.length)
        #expect(Digest(hexadecimal: expected) == digest)
        var bytes: [UInt8] = []
        digest.append(to: &bytes)
        #expect(bytes.count == algorithm.length)
        #expect(Digest(bytes: bytes.span.bytes) == digest)
    }

    /// In pieces of any length, also of none.
    @Test(arguments: known, DigestAlgorithm.allCases)
    func streamed(_ known: Known, algorithm: DigestAlgorithm) {
        var random = SeededRandom(seed: UInt64(known.bytes.count))
        var stream = DigestStream(algorithm)
        var position = 0
        while position < known.bytes.count {
            let end = min(position + random.pick([0, 1, 7, 64, 240, 1024, 40_000]), known.bytes.count)
            let piece = Array(known.bytes[position..<end])
            stream.add(piece.span.bytes)
            position = end
        }
        #expect(stream.digest() == algorithm.digest(of: known.bytes.span.bytes))
    }

    @Test(arguments: [
        "", "99", "99aa06d3014798d86001c324468d497", "99aa06d3014798d86001c324468d497g",
        "99AA06D3014798D86001C324468D497F", "99aa06d3014798d86001c324468d497f00", " 9aa06d3014798d86001c324468d497f",
        "99aa06d3014798d86001c324468d497é", String(repeating: "0", count: 63), String(repeating: "0", count: 65),
    ])
    func noDigest(text: String) {
        #expect(Digest(hexadecimal: text) == nil)
    }

    /// A short digest is no long one with zeroes behind it.
    @Test func lengthsDiffer() {
        let zeroes = [UInt8](repeating: 0, count: 32)
        let short = Digest(bytes: zeroes.span.bytes.extracting(0..<16))
        let long = Digest(bytes: zeroes.span.bytes)
        #expect(short != long)
    }
}
