// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import DirtyBitmaps
import FormatTestSupport
import Qcow2Format
import TestSupport
import Testing

/// Damage in what leads to bitmaps ends in an error or in bitmaps, never in a trap, and never touches the disk.
@Suite struct HostileBitmapTests {
    /// An image with data and bitmaps, and where the directory is.
    private static func original(clusterBits: Int) async throws -> (bytes: [UInt8], model: ImageModel) {
        var kind = ImageCase(clusterBits: clusterBits)
        kind.seed = UInt64(clusterBits)
        let model = try await ImageModel(kind)
        for _ in 0..<10 { try await model.step() }
        try await model.close()
        let bitmaps = try await Qcow2File(model.file).openBitmaps(forWriting: true)
        var bits = try DirtyBitmap(length: kind.size, granularity: 512)
        bits.set(5000..<9000)
        bits.set(70_000..<kind.size / 2)
        try await bitmaps.apply([
            .add(name: "one", granularity: 512, isRecording: true), .store(bits, as: "one"),
            .add(name: "two", granularity: 4096, isRecording: false), .merge(sources: ["one"], into: "two"),
        ])
        try await bitmaps.close()
        return ((model.file as! MemoryDevice).snapshot.allBytes, model)
    }

    private static func word(_ bytes: [UInt8], _ offset: Int) -> Int {
        let value: UInt64? = try? bytes.span.bytes.bigEndian(at: offset)
        return Int(truncatingIfNeeded: value ?? 0)
    }

    private static let extremes: [UInt64] = [
        0, 1, 2, 8, 24, 32, 512, 4096, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 27, 1 << 56, 1 << 63, .max, .max - 511,
        .max << 12, 0x0000_0001_0000_0000, 0x0000_0002_0000_0001,
    ]

    @Test(arguments: [9, 12, 16], 0..<4) func damagedBitmaps(clusterBits: Int, round: Int) async throws {
        let (original, model) = try await Self.original(clusterBits: clusterBits)
        var random = SeededRandom(seed: UInt64(clusterBits * 10 + round))
        let location = try #require(
            stride(from: 104, through: 504, by: 8).first { Self.word(original, $0) == 0x2385_2875_0000_0018 })
        let directory = Self.word(original, location + 24)
        let table = Self.word(original, directory)
        for _ in 0..<(isHeavyRun ? 5000 : 150) {
            var bytes = original
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let place =
                    switch Int.random(in: 0..<4, using: &random) {
                    case 0: location + 8 + Int.random(in: 0..<5, using: &random) * 4
                    case 1, 2: directory + Int.random(in: 0..<64, using: &random)
                    default: table + Int.random(in: 0..<3, using: &random) * 8
                    }
                if Bool.random(using: &random) {
                    bytes[place] ^= 1 << UInt8.random(in: 0..<8, using: &random)
                } else {
                    bytes.storeBigEndian(Self.extremes.randomElement(using: &random)!, at: place)
                }
            }
            await HostileImageTests.exercise(bytes, &random)
            // The disk is not affected by any of this.
            let file = MemoryDevice(name: "image.qcow2", bytes: bytes)
            let disk = try await Qcow2File(file).open()
            #expect(haveSameBytes(try await disk.bytes(at: 0, count: Int(model.kind.size)), model.expected))
        }
    }
}
