// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import TestSupport
import Testing

/// Buffers start where direct I/O wants them, and all ways in and out show the same bytes.
struct AlignedBufferTests {
    @Test(arguments: [0, 1, 511, 512, 4095, 4096, 4097, 65536, 1 << 20, (1 << 20) + 1])
    func startsAtAMultipleOf4096(count: Int) {
        let buffer = AlignedBuffer(count: count)
        let counts = [buffer.count, buffer.bytes.byteCount]
        #expect(counts == [count, count])
        let address = buffer.bytes.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) }
        #expect(address.isMultiple(of: 4096))
        #expect(address != 0 || count == 0)
    }

    @Test func whatIsWrittenIsRead() {
        var random = SeededRandom(seed: 1)
        let content = random.bytes(count: 10_000)
        var buffer = AlignedBuffer(count: 10_000)
        var bytes = buffer.mutableBytes
        bytes.copy(content.span.bytes)
        let (all, some, none) = (array(buffer.bytes), array(buffer.prefix(100)), array(buffer.prefix(0)))
        #expect(all == content)
        #expect(some == Array(content[..<100]))
        #expect(none == [])
    }

    @Test func slicesChangeOnlyTheirRange() {
        var buffer = AlignedBuffer(count: 1000)
        var all = buffer.mutableBytes
        let sevens = [UInt8](repeating: 7, count: 1000)
        all.copy(sevens.span.bytes)
        var slice = buffer.mutableSlice(100..<200)
        slice.clear()
        var prefix = buffer.mutablePrefix(10)
        prefix.clear()
        var whole = buffer.mutableBytes
        var nested = whole.slice(500..<600)
        let few: [UInt8] = [1, 2, 3]
        nested.copy(few.span.bytes, at: 97)

        var expected = [UInt8](repeating: 7, count: 1000)
        for index in Array(0..<10) + Array(100..<200) { expected[index] = 0 }
        expected.replaceSubrange(597..<600, with: [1, 2, 3])
        let result = array(buffer.bytes)
        #expect(result == expected)
    }

    @Test func rangesOutsideTheBufferStopTheProgram() async {
        await #expect(processExitsWith: .failure) { Self.slicePastTheEnd() }
        await #expect(processExitsWith: .failure) { Self.prefixPastTheEnd() }
        await #expect(processExitsWith: .failure) { Self.copyPastTheEnd() }
        await #expect(processExitsWith: .failure) { Self.negativeLength() }
    }

    private static func slicePastTheEnd() {
        var buffer = AlignedBuffer(count: 100)
        var slice = buffer.mutableSlice(50..<101)
        slice.clear()
    }

    private static func prefixPastTheEnd() {
        let buffer = AlignedBuffer(count: 100)
        _ = buffer.prefix(101).byteCount
    }

    private static func copyPastTheEnd() {
        var buffer = AlignedBuffer(count: 2)
        var bytes = buffer.mutableBytes
        let source: [UInt8] = [0, 0]
        bytes.copy(source.span.bytes, at: 1)
    }

    private static func negativeLength() {
        _ = AlignedBuffer(count: -1).count
    }

    private func array(_ span: borrowing RawSpan) -> [UInt8] {
        span.withUnsafeBytes { [UInt8]($0) }
    }
}
