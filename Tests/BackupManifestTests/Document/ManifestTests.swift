// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Foundation
import TestSupport
import Testing

@testable import BackupManifest

/// The document: what is written is read again, and whatever else there may be in such a file is refused with a reason.
@Suite struct ManifestTests {
    static func make(
        length: Int = (2 << 20) + 512, isWhole: Bool = false, _ algorithm: DigestAlgorithm = .xxh3
    ) async throws -> Document {
        var random = SeededRandom(seed: 3)
        let content = try await ContentModel.random(length: length, &random).recorded(algorithm, isWhole: isWhole)
        let header = ManifestHeader(
            id: "0123456789abcdef0123456789abcdef", created: Date(timeIntervalSince1970: 1_700_000_000),
            writer: "test 1", target: .init(name: "b/ü\n.qcow2", format: "qcow2"),
            source: .init(path: "/a", format: "raw", snapshot: "s", length: .max, modified: .min), sync: "bitmap",
            bitmap: .init(name: "b0", mode: "never"),
            parent: .init(name: "p", id: nil, virtualSize: 7, content: "c"), unreadable: [0..<512, 1024..<2048],
            content: try await content.summary())
        return Document(header: header, content: content)
    }

    @Test(arguments: [0, 512, 65_536, 5 << 20], DigestAlgorithm.allCases)
    func roundTrip(length: Int, algorithm: DigestAlgorithm) async throws {
        for isWhole in [false, true] {
            let manifest = try await Self.make(length: length, isWhole: isWhole, algorithm)
            let bytes = try await manifest.encoded()
            let again = try await Manifest(decoding: bytes)
            #expect(again.header == manifest.header)
            #expect(try await again.digests.encoded() == manifest.content.encoded())
            #expect(try await Manifest.sealedHeader(in: MemoryDevice(bytes: bytes)) == manifest.header)
            #expect(again.header.content == again.digests.root.description)
            #expect(Manifest.isManifest(bytes))
            let (header, _) = try Manifest.header(in: bytes, length: UInt64(bytes.count))
            #expect(header == manifest.header)
        }
    }

    /// The form is fixed: other programs read it.
    @Test func firstLines() async throws {
        let bytes = try await Self.make(length: 512, isWhole: true).encoded()
        let lines = bytes.split(separator: UInt8(ascii: "\n"), maxSplits: 2)
        #expect(String(decoding: lines[0], as: UTF8.self) == "qcowbackup manifest 1")
        let json = try #require(
            try JSONSerialization.jsonObject(with: Data(lines[1])) as? [String: Any])
        #expect(json["virtual-size"] as? Int == 512)
        #expect(json["range"] as? Int == 1 << 20)
        #expect(json["unit"] as? Int == 65_536)
        #expect(json["digest"] as? String == "xxh3-128")
        #expect(json["created"] as? String == "2023-11-14T22:13:20Z")
        #expect(json["whole-disk"] as? Bool == true)
        #expect((json["unreadable"] as? [[String: Int]])?.last == ["start": 1024, "length": 1024])
        // The range's number and its digest, the end, and the seal.
        #expect(json["body-length"] as? Int == lines[2].count - 16)
    }

    /// A few hundred bytes, and 16 for each MiB.
    @Test func isSmall() async throws {
        var model = ContentModel(length: 64 << 20)
        for range in 0..<64 { model.bytes[range << 20] = 1 }
        let content = try await model.recorded(.xxh3, isWhole: true)
        var header = try await Self.make().header
        let summary = try await content.summary()
        (header.content, header.bodyLength) = (summary.root.description, summary.bodyLength)
        #expect(try await Document(header: header, content: content).encoded().count < 64 * 16 + 1024)
    }

    // MARK: Damage

    @Test(arguments: DigestAlgorithm.allCases) func truncated(algorithm: DigestAlgorithm) async throws {
        let bytes = try await Self.make(algorithm).encoded()
        for count in bytes.indices {
            let error = await #expect(throws: ManifestError.self) {
                try await Manifest(decoding: Array(bytes.prefix(count)))
            }
            // From the header's end on it is known how long it was.
            if case .wrongLength(let found, let expected)? = error {
                #expect(found == UInt64(count) && expected == UInt64(bytes.count))
                #expect(error?.description.contains("cut off") == true)
            }
        }
        await #expect(
            throws: ManifestError.wrongLength(found: UInt64(bytes.count) + 1, expected: UInt64(bytes.count))
        ) { try await Manifest(decoding: bytes + [0]) }
        await #expect(throws: ManifestError.self) { try await Manifest(decoding: bytes + bytes) }
    }

    @Test(arguments: DigestAlgorithm.allCases) func changed(algorithm: DigestAlgorithm) async throws {
        let bytes = try await Self.make(algorithm).encoded()
        for index in bytes.indices {
            let others: [UInt8] =
                isHeavyRun ? (1...255).map { bytes[index] ^ $0 } : [1, 0x80, 0xff].map { bytes[index] ^ $0 }
            for value in others {
                var other = bytes
                other[index] = value
                await #expect(throws: ManifestError.self, "byte \(index) is \(value)") {
                    try await Manifest(decoding: other)
                }
                // Without the seal it need not be seen, but must not trap.
                _ = try? Manifest.header(in: other, length: UInt64(other.count))
            }
        }
    }

    @Test func random() async throws {
        var random = SeededRandom(seed: 9)
        let bytes = try await Self.make().encoded()
        for _ in 0..<(isHeavyRun ? 100_000 : 1000) {
            var other = random.bytes(count: Int.random(in: 0...300, using: &random))
            await #expect(throws: ManifestError.self) { try await Manifest(decoding: other) }
            // Some of it is a manifest's.
            other = Array(bytes.prefix(Int.random(in: 0...bytes.count, using: &random))) + other
            await #expect(throws: ManifestError.self) { try await Manifest(decoding: other) }
        }
    }

    // MARK: Hostile headers

    /// A document whose seal fits, with another header or body.
    static func sealed(
        version: String = "1", _ algorithm: DigestAlgorithm = .xxh3, replacing: [(String, String)] = [],
        body: [UInt8]? = nil
    ) async throws -> [UInt8] {
        let bytes = try await make(algorithm).encoded()
        var lines = bytes.split(separator: UInt8(ascii: "\n"), maxSplits: 2).map { Array($0) }
        var json = String(decoding: lines[1], as: UTF8.self)
        for (one, other) in replacing {
            #expect(json.contains(one), "\(one) is in the header")
            json = json.replacingOccurrences(of: one, with: other)
        }
        lines[2].removeLast(algorithm.length)
        if let body {
            json = json.replacing(#/"body-length":\d+/#, with: "\"body-length\":\(body.count)")
            lines[2] = body
        }
        var sealed = Array("qcowbackup manifest \(version)\n\(json)\n".utf8) + lines[2]
        algorithm.digest(of: sealed.span.bytes).append(to: &sealed)
        return sealed
    }

    @Test func sealingWorks() async throws {
        _ = try await Manifest(decoding: try await Self.sealed())
    }

    @Test(arguments: [
        ("2", true), ("4294967295", true), ("10", true), ("", false), ("0", false), ("-1", false), ("x", false),
    ])
    func versions(version: String, isNewer: Bool) async throws {
        let bytes = try await Self.sealed(version: version)
        let expected: ManifestError = isNewer ? .newerVersion(version) : .notAManifest
        await #expect(throws: expected) { try await Manifest(decoding: bytes) }
        #expect(!isNewer || expected.description.contains("version \(version)"))
        #expect(Manifest.isManifest(bytes))
    }

    struct Header: Sendable, CustomTestStringConvertible {
        var one: String
        var other: String

        init(_ one: String, _ other: String) {
            self.one = one
            self.other = other
        }

        var testDescription: String { "\(other) for \(one)" }
    }

    private static let size = "\"virtual-size\":2097664"

    private static let badHeaders = [
        Header(size, "\"virtual-size\":-1"), Header(size, "\"virtual-size\":\"2097664\""),
        Header(size, "\"virtual-size\":2097664.5"), Header(size, "\"virtual-size\":1e400"),
        Header(size, "\"virtual-size\":18446744073709551615"), Header(size, "\"virtual-size\":9223372036854775808"),
        Header(size, "\"virtual-size\":99999999999999999999999"), Header(size, "\"virtual-size\":null"),
        Header(size, "\"virtual-size\":true"), Header(size, "\"virtual-size\":[2097664]"), Header(size, "\"x\":1"),
        Header("\"range\":1048576", "\"range\":0"), Header("\"range\":1048576", "\"range\":65536"),
        Header("\"unit\":65536", "\"unit\":0"), Header("\"unit\":65536", "\"unit\":-65536"),
        Header("\"whole-disk\":false", "\"whole-disk\":0"), Header("\"created\":\"2023", "\"created\":\"x2023"),
        Header("\"unreadable\":[", "\"unreadable\":[7,"), Header("\"id\":", "\"id\":7,\"ix\":"),
        Header("{\"bitmap\"", "\"bitmap\""), Header("\"length\":512", "\"length\":-512"),
    ]

    @Test(arguments: badHeaders) func badHeader(header: Header) async throws {
        let bytes = try await Self.sealed(replacing: [(header.one, header.other)])
        let error = await #expect(throws: ManifestError.self) { try await Manifest(decoding: bytes) }
        guard case .badHeader? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(error?.description.isEmpty == false)
    }

    @Test(arguments: ["", "md5", "XXH3-128", "xxh3-128 ", "\\u0000"]) func unknownDigest(name: String) async throws {
        let bytes = try await Self.sealed(replacing: [("\"xxh3-128\"", "\"\(name)\"")])
        let error = await #expect(throws: ManifestError.self) { try await Manifest(decoding: bytes) }
        guard case .unknownDigest? = error else {
            Issue.record("\(String(describing: error))")
            return
        }
    }

    /// A digest that is known, and another one.
    @Test func otherDigest() async throws {
        let bytes = try await Self.sealed(replacing: [("\"xxh3-128\"", "\"sha-256\"")])
        await #expect(throws: ManifestError.self) { try await Manifest(decoding: bytes) }
    }

    /// Sizes that are those of some disk, and not of this one.
    @Test(arguments: [0, 512, 1 << 20, 2_097_152, 3 << 20, 64 << 40, Int.max])
    func otherSizes(virtualSize: Int) async throws {
        let bytes = try await Self.sealed(replacing: [(Self.size, "\"virtual-size\":\(virtualSize)")])
        await #expect(throws: ManifestError.self) { try await Manifest(decoding: bytes) }
    }

    @Test func otherKind() async throws {
        let bytes = try await Self.sealed(replacing: [("\"whole-disk\":false", "\"whole-disk\":true")])
        await #expect(throws: ManifestError.badBody) { try await Manifest(decoding: bytes) }
    }

    @Test func otherContent() async throws {
        let content = try await Self.make().header.content
        let bytes = try await Self.sealed(
            replacing: [("\"\(content)\"", "\"\(String(repeating: "0", count: 32))\"")])
        await #expect(throws: ManifestError.badBody) { try await Manifest(decoding: bytes) }
    }

    @Test(arguments: ["0", "1", "17", "18446744073709551615", "9223372036854775807", "-1", "null", "1.5"])
    func bodyLength(number: String) async throws {
        let length = try await Self.make().header.bodyLength
        let bytes = try await Self.sealed(replacing: [("\"body-length\":\(length)", "\"body-length\":\(number)")])
        let error = await #expect(throws: ManifestError.self) { try await Manifest(decoding: bytes) }
        switch error {
        case .badHeader?, .wrongLength?: break
        default: Issue.record("\(String(describing: error))")
        }
        // The file being as long as it says changes nothing.
        if let claimed = UInt64(number) {
            #expect(throws: ManifestError.self) { try Manifest.header(in: bytes, length: claimed) }
        }
    }

    @Test(arguments: [[], [0], [0, 0], [0, 1], [0, 0, 0, 0, 0], [0xff, 0xff, 0xff, 0xff, 0x7f, 1]] as [[UInt8]])
    func otherBody(body: [UInt8]) async throws {
        let bytes = try await Self.sealed(body: body)
        await #expect(throws: ManifestError.badBody) { try await Manifest(decoding: bytes) }
    }

    /// Lines without an end, and JSON that is nothing but depth.
    @Test func endless() async throws {
        let start = Array("qcowbackup manifest ".utf8)
        for filler in ["1", " ", "\0", "\u{FF}"] {
            let bytes = start + [UInt8](repeating: filler.utf8.first!, count: 3 << 20)
            let error = await #expect(throws: ManifestError.self) { try await Manifest(decoding: bytes) }
            #expect(error == .badHeader("its first line has no end"))
        }
        for filler in ["[", "{\"a\":", "\"", "1", " "] {
            let text = String(repeating: filler, count: (3 << 20) / filler.utf8.count)
            let bytes = start + Array("1\n\(text)".utf8)
            let error = await #expect(throws: ManifestError.self) { try await Manifest(decoding: bytes) }
            #expect(error == .badHeader("its second line has no end"))
            let ended = start + Array("1\n\(text.prefix(500_000))\n".utf8)
            await #expect(throws: ManifestError.badHeader("its second line is not the JSON that is expected")) {
                try await Manifest(decoding: ended)
            }
        }
    }

    @Test(arguments: ["", "q", "qcowbackup manifest", "Qcowbackup manifest 1\n", "\u{FEFF}qcowbackup manifest 1\n"])
    func somethingElse(text: String) async {
        await #expect(throws: ManifestError.notAManifest) { try await Manifest(decoding: Array(text.utf8)) }
        #expect(!Manifest.isManifest(Array(text.utf8)))
    }
}
