// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps
import TestSupport
import Testing

@testable import BackupService

/// Spot checks of a parent: they find another disk, never doubt the right one, and look at little.
@Suite struct ParentCheckTests {
    private static let length: UInt64 = 8 << 20

    private func random(_ seed: UInt64) -> [UInt8] {
        var random = SeededRandom(seed: seed)
        return random.bytes(count: Int(Self.length))
    }

    private func difference(
        _ source: any BlockDevice, _ parent: any BlockDevice, marked: [Range<UInt64>] = []
    ) async throws -> UInt64? {
        let bits = try DirtyBitmap(length: source.length, granularity: 65536, marked)
        return try await ParentCheck(source: source, parent: parent, bits: bits).firstDifference()
    }

    @Test func theRightParent() async throws {
        var bytes = random(1)
        let parent = MemoryDevice(bytes: bytes)
        for index in 1 << 20..<2 << 20 { bytes[index] ^= 1 }
        let source = MemoryDevice(bytes: bytes)
        for _ in 0..<50 {
            #expect(try await difference(source, parent, marked: [1 << 20..<2 << 20]) == nil)
        }
        // Grown or shrunk since.
        let longer = MemoryDevice(bytes: bytes + [1, 2, 3] + [UInt8](repeating: 9, count: 509))
        #expect(try await difference(longer, source) == nil)
        #expect(try await difference(source, longer) == nil)
    }

    @Test func anotherDisk() async throws {
        let source = MemoryDevice(bytes: random(1))
        #expect(try await difference(source, MemoryDevice(bytes: random(2))) == 0)
        #expect(try await difference(source, MemoryDevice(length: Self.length)) == 0)
        #expect(try await difference(MemoryDevice(length: Self.length), source) == 0)
        // Where all is marked, nothing can be known.
        let other = MemoryDevice(bytes: random(2))
        #expect(try await difference(source, other, marked: [0..<Self.length]) == nil)
    }

    /// Half of the disk differs: 32 places make sure, in all but one of four thousand million runs.
    @Test func anotherDay() async throws {
        var bytes = random(3)
        let parent = MemoryDevice(bytes: bytes)
        for start in stride(from: 65536, to: bytes.count, by: 131072) {
            for index in start..<start + 65536 { bytes[index] ^= 1 }
        }
        let found = try #require(try await difference(MemoryDevice(bytes: bytes), parent))
        #expect(found / 65536 % 2 == 1)
    }

    /// A single byte, just before where the content ends that isn't marked.
    @Test func theLastContent() async throws {
        var bytes = random(6)
        let parent = MemoryDevice(bytes: bytes)
        bytes[5 << 20] ^= 1
        let source = MemoryDevice(bytes: bytes)
        func found(_ end: UInt64, marked: [Range<UInt64>] = []) async throws -> UInt64? {
            let bits = try DirtyBitmap(length: source.length, granularity: 512, marked)
            return try await ParentCheck(source: source, parent: parent, bits: bits).firstDifference(before: end)
        }
        #expect(try await found(0) == nil)
        #expect(try await found(5 << 20) == nil)
        #expect(try await found(5 << 20 + 512) == 5 << 20)
        #expect(try await found(5 << 20 + 65536, marked: [5 << 20 + 1024..<5 << 20 + 2048]) == 5 << 20)
        #expect(try await found(5 << 20 + 65536, marked: [5 << 20..<5 << 20 + 512]) == nil)
    }

    @Test func aParentThatCannotBeRead() async throws {
        let bytes = random(4)
        let source = MemoryDevice(bytes: bytes)
        let parent = FaultInjectingDevice(MemoryDevice(bytes: bytes), faults: [.calls(from: 1, of: .read)])
        await #expect(throws: BlockError.self) { try await difference(source, parent) }
        // What the source has to hide, the backup finds out.
        #expect(try await difference(parent, source) == nil)
    }

    /// A large disk is not walked for the sake of this.
    @Test func cost() async throws {
        let (source, parent) = (MemoryDevice(length: 16 << 40), MemoryDevice(length: 16 << 40))
        let bits = try DirtyBitmap(length: 16 << 40, granularity: 65536)
        #expect(try await ParentCheck(source: source, parent: parent, bits: bits).firstDifference() == nil)
        #expect(source.counts[.blockStatus, default: 0] <= 32 * 16)
        let data = MemoryDevice(bytes: random(5))
        _ = try await difference(data, MemoryDevice(bytes: random(5)))
        #expect(data.counts[.read, default: 0] <= 32)
    }
}
