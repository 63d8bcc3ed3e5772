// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import FormatTestSupport
import TestSupport

/// Changes images in places that matter.
enum ImageMutator {
    static func change(_ image: inout [UInt8], _ random: inout SeededRandom) {
        switch Int.random(in: 0..<4, using: &random) {
        case 0: changeBitmaps(&image, &random)
        case 1: move(&image, &random)
        default: ImageDamage.apply(to: &image, &random)
        }
    }

    /// A field of the bitmaps extension, the bitmap directory or a bitmap table.
    private static func changeBitmaps(_ image: inout [UInt8], _ random: inout SeededRandom) {
        guard let bitmaps = bitmapsExtension(of: image) else { return }
        let directory = value(image, at: bitmaps + 16)
        let start =
            switch Int.random(in: 0..<4, using: &random) {
            case 0: bitmaps + Int.random(in: 0..<24, using: &random)
            case 1, 2: directory + Int.random(in: 0..<64, using: &random)
            default: value(image, at: directory) + Int.random(in: 0..<8, using: &random) * 8
            }
        guard start >= 0, start + 8 <= image.count else { return }
        let extremes: [UInt64] = [0, 1, 2, 1 << 9, 1 << 31, 1 << 32, 1 << 62, .max, UInt64(image.count)]
        switch Int.random(in: 0..<4, using: &random) {
        case 0: image[start] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        case 1: image[start] = UInt8.random(in: .min ... .max, using: &random)
        case 2: image.storeBigEndian(UInt32(truncatingIfNeeded: random.pick(extremes)), at: start)
        default: image.storeBigEndian(random.pick(extremes), at: start)
        }
    }

    /// Copies a word that means something to another place where words do: structures on top of each other.
    private static func move(_ image: inout [UInt8], _ random: inout SeededRandom) {
        guard image.count >= 112 else { return }
        let places = [
            8, 40, 48, 64, value(image, at: 40), value(image, at: 48), value(image, at: value(image, at: 40)),
        ]
        let (from, to) = (random.pick(places), random.pick(places) + 8 * Int.random(in: 0..<2, using: &random))
        guard from + 8 <= image.count, to + 8 <= image.count else { return }
        for index in 0..<8 { image[to + index] = image[from + index] }
    }

    /// Where the data of the bitmaps extension are.
    private static func bitmapsExtension(of image: [UInt8]) -> Int? {
        guard let headerLength: UInt32 = try? image.span.bytes.bigEndian(at: 100) else { return nil }
        var offset = Int(headerLength)
        for _ in 0..<16 {
            guard let type: UInt32 = try? image.span.bytes.bigEndian(at: offset),
                let length: UInt32 = try? image.span.bytes.bigEndian(at: offset + 4), type != 0
            else { return nil }
            if type == 0x2385_2875 { return offset + 8 }
            offset += 8 + (Int(length) + 7) & ~7
        }
        return nil
    }

    /// A word that names a place in the image, made to lie inside.
    private static func value(_ image: [UInt8], at offset: Int) -> Int {
        let value: UInt64 = (try? image.span.bytes.bigEndian(at: offset)) ?? 0
        return Int(value & 0x00ff_ffff_ffff_fe00) % max(image.count, 1)
    }
}
