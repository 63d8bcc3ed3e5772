// SPDX-License-Identifier: GPL-2.0-or-later

import TestSupport
import Testing

@testable import Qcow2Format

/// Refcounts of all widths, against a list of numbers and the bits that the specification asks for.
@Suite struct RefcountCodecTests {
    @Test(arguments: 0...6) func againstAList(order: Int) {
        let codec = RefcountCodec(order: order)
        let width = 1 << order
        #expect(codec.bits == width)
        #expect(codec.maximum == (width == 64 ? UInt64.max : (1 << UInt64(width)) - 1))
        #expect(codec.capacity(ofBytes: 512) == 4096 / width)
        var random = SeededRandom(seed: UInt64(order))
        var bytes = [UInt8](repeating: 0, count: 512)
        var model = [UInt64](repeating: 0, count: codec.capacity(ofBytes: bytes.count))
        for _ in 0..<3000 {
            let index = model.indices.randomElement(using: &random)!
            let value = random.next() & codec.maximum
            codec.store(value, in: &bytes, at: index)
            model[index] = value
        }
        for (index, value) in model.enumerated() {
            #expect(codec.value(in: bytes, at: index) == value)
            #expect(Self.naive(bytes, index: index, width: width) == value)
        }
    }

    /// Bit by bit: below a byte from the least significant bit on, else big-endian.
    private static func naive(_ bytes: [UInt8], index: Int, width: Int) -> UInt64 {
        var value: UInt64 = 0
        for bit in 0..<width {
            let isSet: Bool
            if width < 8 {
                let position = index * width + bit
                isSet = bytes[position / 8] >> UInt8(position % 8) & 1 == 1
            } else {
                let byte = index * width / 8 + (width - 1 - bit) / 8
                isSet = bytes[byte] >> UInt8(bit % 8) & 1 == 1
            }
            if isSet { value |= 1 << UInt64(bit) }
        }
        return value
    }
}
