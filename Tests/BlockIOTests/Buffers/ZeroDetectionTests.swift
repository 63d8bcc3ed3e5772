// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import TestSupport
import Testing

/// `isZero` looks at each byte of the span and at none outside it.
struct ZeroDetectionTests {
    /// Every length up to more than one step of the wide loop, each start in it, and each byte that may be the one.
    @Test func everyLengthAndEveryPosition() {
        // The bytes around the span are never zero.
        var bytes = [UInt8](repeating: 0xFF, count: 320)
        var wrong: [String] = []
        for length in 0...300 {
            let start = 1 + length % 9
            for index in start..<start + length { bytes[index] = 0 }
            if !isZero(bytes, start, length) { wrong.append("zero, length \(length)") }
            for position in 0..<length {
                bytes[start + position] = position.isMultiple(of: 2) ? 1 : 0x80
                if isZero(bytes, start, length) { wrong.append("byte \(position) of \(length)") }
                bytes[start + position] = 0
            }
            for index in start..<start + length { bytes[index] = 0xFF }
        }
        #expect(wrong == [])
    }

    @Test(arguments: [4096, 65536, 65537, (1 << 20) - 1])
    func largeBuffers(length: Int) {
        var random = SeededRandom(seed: UInt64(length))
        var bytes = [UInt8](repeating: 0, count: length)
        #expect(isZero(bytes, 0, length))
        for position in [0, 1, 7, 8, 255, 256, length / 2, length - 257, length - 1] {
            bytes[position] = UInt8.random(in: 1...255, using: &random)
            #expect(!isZero(bytes, 0, length), "byte \(position)")
            bytes[position] = 0
        }
    }

    @Test func clearingMakesZero() {
        var random = SeededRandom(seed: 3)
        for length in [0, 1, 100, 5000] {
            var bytes = random.bytes(count: length)
            var span = bytes.mutableSpan
            var raw = span.mutableBytes
            raw.clear()
            #expect(bytes == [UInt8](repeating: 0, count: length))
        }
    }

    private func isZero(_ bytes: [UInt8], _ start: Int, _ length: Int) -> Bool {
        bytes.span.bytes.extracting(start..<start + length).isZero
    }
}
