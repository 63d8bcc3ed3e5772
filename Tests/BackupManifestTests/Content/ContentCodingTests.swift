// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps
import TestSupport
import Testing

@testable import BackupManifest

/// The binary part of a manifest: what is written is read again, one content has one form, and nothing else is taken.
@Suite struct ContentCodingTests {
    static let lengths = [0, 512, 65_536 + 512, (1 << 20) + 512, (4 << 20) + 4096]

    private static func decoded(_ bytes: [UInt8], like content: RecordedContent) async throws -> ContentDigests? {
        try await ContentDigests(
            decoding: bytes, algorithm: content.algorithm, virtualSize: content.geometry.virtualSize,
            isWhole: content.isWhole)
    }

    @Test(arguments: lengths, [false, true])
    func roundTrip(length: Int, isWhole: Bool) async throws {
        for algorithm in DigestAlgorithm.allCases {
            var random = SeededRandom(seed: UInt64(length))
            let model = ContentModel.random(length: length, &random)
            let digests = try await model.recorded(algorithm, isWhole: isWhole)
            let bytes = try await digests.encoded()
            let again = try #require(await Self.decoded(bytes, like: digests))
            try await model.expect(again, isWhole: isWhole)
            #expect(try await again.encoded() == bytes)
            #expect(try await again.root == digests.summary().root)
        }
    }

    /// Digests of more ranges than a page of the table holds, in long stretches and with gaps.
    @Test func manyRanges() async throws {
        let geometry = ContentGeometry(virtualSize: 3000 << 20)
        for step in [1, 2, 255, 256, 257] {
            var table = DigestTable(.xxh3)
            var data = try DirtyBitmap(length: geometry.virtualSize, granularity: ContentGeometry.rangeLength)
            for range in stride(from: 100, to: 2900, by: step) {
                let number = [UInt8(range & 255), UInt8(range >> 8)]
                table.set(DigestAlgorithm.xxh3.digest(of: number.span.bytes), ofRange: UInt64(range))
                data.set(geometry.bytes(ofRange: UInt64(range)))
            }
            let digests = RecordedContent(geometry: geometry, layer: nil, data: data, table: table, scratch: nil)
            let bytes = try await digests.encoded()
            // 16 bytes for each digest, and two short numbers for each stretch.
            #expect(
                bytes.count <= 16 * Int(digests.dataRangeCount) + (step == 1 ? 8 : 5 * Int(digests.dataRangeCount) + 8))
            let again = try #require(await Self.decoded(bytes, like: digests))
            #expect(again.dataRangeCount == digests.dataRangeCount)
            for range in 0..<3000 as Range<UInt64> { #expect(try await again.digest(ofRange: range) == table[range]) }
            var next: UInt64 = 0
            for range in stride(from: 100, to: 2900, by: step) {
                #expect(try await again.nextDataRange(from: next) == UInt64(range))
                next = UInt64(range) + 1
            }
            #expect(try await again.nextDataRange(from: next) == nil)
        }
    }

    /// The same content, written in another order and in pieces of another length.
    @Test(arguments: 1...4) func sameBytes(seed: UInt64) async throws {
        var random = SeededRandom(seed: seed)
        let model = ContentModel.random(length: (3 << 20) + 512, &random)
        let plain = try await model.recorded(.xxh3, isWhole: true)
        let recorder = ContentRecorder(virtualSize: UInt64(model.bytes.count), algorithm: .xxh3)
        let pieceLength = random.pick([65_536, 2 * 65_536, 512 << 10, 1 << 20, 2 << 20])
        for start in stride(from: 0, to: model.bytes.count, by: pieceLength).shuffled(using: &random) {
            let content = Array(model.bytes[start..<min(start + pieceLength, model.bytes.count)])
            // What is zero may be told or not.
            let isZero = content.allSatisfy { $0 == 0 }
            if isZero, Bool.random(using: &random) { continue }
            if isZero, Bool.random(using: &random) {
                recorder.recordZeroes(at: UInt64(start), length: UInt64(content.count))
            } else {
                recorder.record(at: UInt64(start), content.span.bytes)
            }
        }
        let digests = try await recorder.finish(isWhole: true, reading: MemoryDevice(length: 0))
        #expect(try await digests.encoded() == plain.encoded())
        #expect(try await digests.summary().root == plain.summary().root)
    }

    /// Whatever is another content has another root: also where a unit is held that is zero, and where the disk is longer.
    @Test func otherRoots() async throws {
        var roots: Set<String> = []
        var count = 0
        for length in [0, 512, 1024, 65_536, 1 << 20] {
            for held in [[], [0], [1], [0, 1]] where held.allSatisfy({ $0 * 65_536 < length }) {
                for byte in [UInt8(0), 1, 2] where byte == 0 || !held.isEmpty {
                    for isWhole in [false, true] where !isWhole || held == [] || byte > 0 {
                        var model = ContentModel(length: length)
                        model.held = Set(held)
                        for unit in held { model.bytes[unit * 65_536] = byte }
                        for algorithm in DigestAlgorithm.allCases {
                            roots.insert(
                                try await model.recorded(algorithm, isWhole: isWhole).summary().root.description)
                            count += 1
                        }
                    }
                }
            }
        }
        #expect(roots.count == count)
        #expect(count > 40)
    }

    // MARK: Anything else

    /// Never a trap; and whatever is taken is written so.
    private static func expectSound(
        _ bytes: [UInt8], like content: RecordedContent, _ comment: Comment
    ) async throws {
        guard let found = try await decoded(bytes, like: content) else { return }
        #expect(try await found.encoded() == bytes, comment)
    }

    private static let small = [(512, true), (512, false), ((2 << 20) + 512, true), ((2 << 20) + 512, false)]

    @Test(arguments: small) func truncated(length: Int, isWhole: Bool) async throws {
        var random = SeededRandom(seed: 5)
        var model = ContentModel.random(length: length, &random)
        model.bytes[0] = 1
        model.held.insert(0)
        let digests = try await model.recorded(.xxh3, isWhole: isWhole)
        let bytes = try await digests.encoded()
        for count in 0..<bytes.count {
            #expect(try await Self.decoded(Array(bytes.prefix(count)), like: digests) == nil)
        }
        for more in 0...255 { #expect(try await Self.decoded(bytes + [UInt8(more)], like: digests) == nil) }
    }

    @Test(arguments: small) func changed(length: Int, isWhole: Bool) async throws {
        var random = SeededRandom(seed: 6)
        let model = ContentModel.random(length: length, &random)
        let digests = try await model.recorded(.xxh3, isWhole: isWhole)
        let bytes = try await digests.encoded()
        for index in bytes.indices {
            for value in stride(from: UInt8.min, through: .max, by: isHeavyRun ? 1 : 5) where value != bytes[index] {
                var other = bytes
                other[index] = value
                try await Self.expectSound(other, like: digests, "byte \(index) is \(value)")
            }
        }
    }

    @Test(arguments: small) func random(length: Int, isWhole: Bool) async throws {
        let digests = try await ContentModel(length: length).recorded(.xxh3, isWhole: isWhole)
        var random = SeededRandom(seed: 7)
        for round in 0..<(isHeavyRun ? 1_000_000 : 1000) {
            let count = Int.random(in: 0...80, using: &random)
            // Small numbers, which mean something, and any.
            let bytes = (0..<count).map { _ in
                random.pick([0, 1, 2, 3, 0x80, 0xff, UInt8.random(in: 0...255, using: &random)])
            }
            try await Self.expectSound(bytes, like: digests, "round \(round)")
        }
    }

    /// Numbers whose sums don't fit, on disks of any length.
    @Test(arguments: [0, 1 << 20, 64 << 40, UInt64(Int64.max)], [false, true])
    func hugeNumbers(virtualSize: UInt64, isWhole: Bool) async throws {
        let numbers: [UInt64] = [0, 1, 2, 1 << 32, 1 << 43, 1 << 47, (1 << 63) - 1, 1 << 63, .max - 1, .max]
        for first in numbers {
            for second in numbers {
                for third in numbers {
                    for end in [[], [0, 0], [0, 0, 0, 0]] as [[UInt8]] {
                        let bytes =
                            ContentDigests.number(first) + ContentDigests.number(second) + ContentDigests.number(third)
                            + ContentDigests.number(1) + end
                        let found = try await ContentDigests(
                            decoding: bytes, algorithm: .xxh3, virtualSize: virtualSize, isWhole: isWhole)
                        if let found { #expect(try await found.encoded() == bytes) }
                    }
                }
            }
        }
    }

    /// A number has one form: not one with zeroes behind it, and none of more than 64 bits.
    @Test(
        arguments: [
            [0x80, 0x00, 0, 0], [0, 0x80, 0x00], [0x81, 0x00, 0x01, 0, 0], [0x80, 0x80, 0x80, 0x00, 0, 0],
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02, 1, 0, 0],
            [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 1, 0, 0],
        ] as [[UInt8]])
    func numbersOfAnotherForm(bytes: [UInt8]) async throws {
        for isWhole in [false, true] {
            #expect(
                try await ContentDigests(
                    decoding: bytes, algorithm: .xxh3, virtualSize: 8 << 20, isWhole: isWhole) == nil)
        }
    }
}
