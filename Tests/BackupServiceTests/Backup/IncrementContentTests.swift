// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps
import TestSupport
import Testing

@testable import BackupService

/// What an increment holds, against a model: on top of its parent it shows the source, and it holds no more than it must.
@Suite struct IncrementContentTests {
    /// A disk of random runs of data, zeroes and nothing.
    private func disk(_ length: UInt64, _ random: inout SeededRandom) async throws -> MemoryDevice {
        let disk = MemoryDevice(length: length)
        for _ in 0..<Int.random(in: 0...6, using: &random) {
            let range = random.range(below: length, alignment: 512)
            if Bool.random(using: &random) {
                try await disk.writeZeroes(at: range.lowerBound, length: UInt64(range.count))
            } else {
                let bytes = random.bytes(count: range.count)
                try await disk.write(at: range.lowerBound, from: bytes.span.bytes)
            }
        }
        return disk
    }

    /// Content, as far as it goes.
    private func bytes(_ disk: MemoryDevice, upTo length: UInt64) async throws -> [UInt8] {
        let count = min(length, disk.length)
        let bytes = try await disk.contents(at: 0, count: Int(count))
        return bytes + [UInt8](repeating: 0, count: Int(length - count))
    }

    @Test(arguments: 1...60) func model(seed: UInt64) async throws {
        var random = SeededRandom(seed: seed)
        let lengths = (0..<2).map { _ in UInt64.random(in: 1...200, using: &random) * 512 }
        let source = try await disk(lengths[0], &random)
        let parent = try await disk(seed.isMultiple(of: 3) ? lengths[0] : lengths[1], &random)
        let granularity: UInt64 = 512 << UInt64.random(in: 0...5, using: &random)
        let length = source.length
        let now = try await bytes(source, upTo: length)
        let then = try await bytes(parent, upTo: length)

        // It marks all that differs, but for what has grown, and some more.
        var recorded = try DirtyBitmap(length: length, granularity: granularity, [random.range(below: length)])
        for offset in stride(from: 0, to: Int(min(length, parent.length)), by: 512)
        where !haveSameBytes(now, then, in: offset..<offset + 512) {
            recorded.set(UInt64(offset)..<UInt64(offset) + 512)
        }
        let bits = try await IncrementContent(source: source, parent: parent).find(from: recorded).bits

        for start in stride(from: 0, to: length, by: Int(granularity)) {
            let range = start..<min(start + granularity, length)
            let isDirty = bits.isDirty(at: start)
            let slice = Int(range.lowerBound)..<Int(range.upperBound)
            if !isDirty { #expect(haveSameBytes(now, then, in: slice), "\(range) is left out") }
            let hasGrown = range.upperBound > parent.length && !areZero(now[slice])
            #expect(!isDirty || recorded.isDirty(at: start) || hasGrown, "\(range) need not be held")
            let sourceIsZero = try await isZero(source, range)
            let parentIsZero = try await isZero(parent, range)
            if sourceIsZero && parentIsZero { #expect(!isDirty, "\(range) is zero in both") }
        }
    }

    /// A disk that was shrunk and has grown again lost what no bitmap marks; what was written since is marked.
    ///
    /// - Parameter isStored: whether the disk's new end is allocated in advance, and its zeroes are known to no one.
    @Test(arguments: 1...40, [false, true]) func forgottenEnd(seed: UInt64, isStored: Bool) async throws {
        var random = SeededRandom(seed: seed)
        let length = UInt64.random(in: 1...200, using: &random) * 512
        let bytes = random.bytes(count: Int(length))
        let source = MemoryDevice(bytes: bytes)
        let parent = MemoryDevice(bytes: bytes)
        let granularity: UInt64 = 512 << UInt64.random(in: 0...5, using: &random)
        var recorded = try DirtyBitmap(length: length, granularity: granularity)
        for _ in 0..<Int.random(in: 0...2, using: &random) { recorded.set(random.range(below: length)) }
        let shrunk = UInt64.random(in: 0..<length / 512, using: &random) * 512
        if isStored {
            try await source.write(at: shrunk, bytes: [UInt8](repeating: 0, count: Int(length - shrunk)))
        } else {
            try await source.writeZeroes(at: shrunk, length: length - shrunk)
        }
        recorded.reset(shrunk..<length)
        for _ in 0..<Int.random(in: 0...2, using: &random) {
            let range = random.range(below: length - shrunk, alignment: 512)
            let written = random.bytes(count: range.count)
            try await source.write(at: shrunk + range.lowerBound, bytes: written)
            recorded.set(shrunk + range.lowerBound..<shrunk + range.upperBound)
        }
        let bits = try await IncrementContent(source: source, parent: parent).find(from: recorded).bits
        let (now, then) = (try await self.bytes(source, upTo: length), try await self.bytes(parent, upTo: length))
        for start in stride(from: 0, to: length, by: 512) where !bits.isDirty(at: start) {
            #expect(haveSameBytes(now, then, in: Int(start)..<Int(start) + 512), "\(start) is left out")
        }
    }

    /// A parent's cluster that ends in stored zeroes is as it should be, however small the source's clusters are.
    @Test func zeroesStoredInTheParent() async throws {
        let source = MemoryDevice(length: 8 << 20)
        let parent = MemoryDevice(length: 8 << 20)
        let content = [UInt8](repeating: 7, count: 4096)
        try await source.write(at: 2 << 20, bytes: content)
        try await parent.write(at: 2 << 20, bytes: content + [UInt8](repeating: 0, count: 61440))
        let recorded = try DirtyBitmap(length: 8 << 20, granularity: 4096)
        let unchanged = try await IncrementContent(source: source, parent: parent).find(from: recorded).bits
        #expect(unchanged.isEmpty, "\(unchanged.dirtyRanges())")
        try await parent.write(at: 2 << 20 + 32768, bytes: content)
        let changed = try await IncrementContent(source: source, parent: parent).find(from: recorded).bits
        let cluster: Range<UInt64> = 2_101_248..<2_162_688
        #expect(changed.dirtyRanges() == [cluster], "the rest of the cluster")
    }

    /// Where a disk has content near its end, what is before it isn't looked at.
    @Test func unmarkedContentIsNotWalked() async throws {
        let source = MemoryDevice(length: 2 << 40)
        for index in 0..<1000 { try await source.write(at: UInt64(index) << 20, bytes: [1]) }
        try await source.write(at: 2 << 40 - 512, bytes: [1])
        let before = source.counts[.blockStatus, default: 0]
        let recorded = try DirtyBitmap(length: 2 << 40, granularity: 65536)
        let bits = try await IncrementContent(source: source, parent: source).find(from: recorded).bits
        #expect(bits.isEmpty)
        #expect(source.counts[.blockStatus, default: 0] - before < 100)
    }

    /// What was allocated in advance may hold what its clusters held before: that is where the parent is to be compared.
    @Test func leftovers() async throws {
        let length: UInt64 = 4 << 20
        let source = MemoryDevice(bytes: [UInt8](repeating: 0, count: Int(length)))
        let parent = MemoryDevice(bytes: [UInt8](repeating: 1, count: Int(length)))
        try await source.write(at: 1 << 20, bytes: [UInt8](repeating: 2, count: 700))
        let recorded = try DirtyBitmap(length: length, granularity: 512)
        let (bits, end) = try await IncrementContent(source: source, parent: parent).find(from: recorded)
        #expect(end == 1 << 20 + 1024)
        let lost: Range<UInt64> = end..<length
        #expect(bits.dirtyRanges() == [lost])
        let check = ParentCheck(source: source, parent: parent, bits: bits)
        #expect(try await check.firstDifference(before: end) == 1 << 20 + 1024 - 65536)
    }

    /// Zeroes that are stored at the end of a disk are not read time and again where the parent has none.
    @Test func storedZeroesAreNotRead() async throws {
        let source = MemoryDevice(bytes: [UInt8](repeating: 1, count: 4096) + [UInt8](repeating: 0, count: 4 << 20))
        let parent = MemoryDevice(length: source.length)
        try await parent.write(at: 0, bytes: [UInt8](repeating: 1, count: 4096))
        let recorded = try DirtyBitmap(length: source.length, granularity: 4096)
        let bits = try await IncrementContent(source: source, parent: parent).find(from: recorded).bits
        #expect(bits.isEmpty)
        #expect(source.counts[.read, default: 0] <= 1)
    }

    /// Stored zeroes in many pieces, of which not all are remembered.
    @Test func manyStoredZeroes() async throws {
        let count = 10_000
        let source = MemoryDevice(length: UInt64(count) * 8192)
        let parent = MemoryDevice(length: source.length)
        for index in 0..<count {
            let byte: UInt8 = index == 10 ? 1 : 0
            try await source.write(at: UInt64(index) * 8192, bytes: [UInt8](repeating: byte, count: 4096))
            let old: UInt8 = index == 10 || index == 5000 ? 1 : 0
            try await parent.write(at: UInt64(index) * 8192, bytes: [UInt8](repeating: old, count: 4096))
        }
        let recorded = try DirtyBitmap(length: source.length, granularity: 4096)
        let bits = try await IncrementContent(source: source, parent: parent).find(from: recorded).bits
        let lost: Range<UInt64> = 5000 * 8192..<5000 * 8192 + 4096
        #expect(bits.dirtyRanges() == [lost])
    }

    /// Whether a range is known to be zero, or lies past the end.
    private func isZero(_ disk: MemoryDevice, _ range: Range<UInt64>) async throws -> Bool {
        var position = range.lowerBound
        let end = min(range.upperBound, disk.length)
        while position < end {
            let extent = try await disk.blockStatus(at: position, length: end - position, in: .chain)
            if !extent.readsAsZero { return false }
            position += extent.length
        }
        return true
    }

    /// A terabyte that is marked, or that has grown, and is zero takes a few questions and no room.
    @Test func largeZeroes() async throws {
        let source = MemoryDevice(length: 2 << 40)
        let parent = MemoryDevice(length: 1 << 40)
        let recorded = try DirtyBitmap(length: 2 << 40, granularity: 65536, [0..<1 << 40])
        let bits = try await IncrementContent(source: source, parent: parent).find(from: recorded).bits
        #expect(bits.isEmpty)
    }
}
