// SPDX-License-Identifier: GPL-2.0-or-later

import DirtyBitmaps
import Testing

/// Limits, rounding, and the cost of very large bitmaps.
@Suite struct DirtyBitmapTests {
    @Test(arguments: [0, 1, 256, 511, 513, 1536, 65537, 4 << 30, .max] as [UInt64])
    func refusesBadGranularity(granularity: UInt64) {
        #expect(throws: DirtyBitmapError.invalidGranularity(granularity)) {
            try DirtyBitmap(length: 1 << 20, granularity: granularity)
        }
    }

    @Test func setRoundsOutwardAndResetInward() throws {
        var bitmap = try DirtyBitmap(length: 10_000, granularity: 1024)
        bitmap.set(1500..<2100)
        #expect(bitmap.nextDirtyArea(from: 0) == 1024..<3072)
        bitmap.reset(1025..<3071)
        #expect(bitmap.nextDirtyArea(from: 0) == 1024..<3072)
        bitmap.reset(1025..<3072)
        #expect(bitmap.nextDirtyArea(from: 0) == 1024..<2048)
    }

    @Test func shortLastGranuleIsInsideOnceItsBytesAre() throws {
        var bitmap = try DirtyBitmap(length: 10_000, granularity: 1024)
        bitmap.setAll()
        #expect(bitmap.dirtyLength == 10_240)
        bitmap.reset(9216..<9999)
        #expect(bitmap.isDirty(at: 9999))
        bitmap.reset(9216..<10_000)
        #expect(!bitmap.isDirty(at: 9999))
        #expect(bitmap.nextDirtyArea(from: 0) == 0..<9216)
    }

    @Test func mergeRefusesAnotherLength() throws {
        var one = try DirtyBitmap(length: 1000, granularity: 512)
        var other = try DirtyBitmap(length: 1001, granularity: 512)
        other.setAll()
        #expect(throws: DirtyBitmapError.lengthsDiffer(1000, 1001)) { try one.merge(other) }
        #expect(one.isEmpty)
    }

    @Test func emptyDiskHasNothingDirty() throws {
        var bitmap = try DirtyBitmap(length: 0, granularity: 512)
        bitmap.setAll()
        bitmap.set(0..<100)
        #expect(bitmap.isEmpty && bitmap.nextDirty(from: 0) == nil && bitmap.nextClean(from: 0) == nil)
    }

    @Test func copyIsIndependent() throws {
        var bitmap = try DirtyBitmap(length: 1 << 40, granularity: 65536)
        bitmap.set(1 << 30..<1 << 30 + 1)
        var copy = bitmap
        bitmap.reset(0..<1 << 40)
        #expect(copy.dirtyGranules == 1)
        copy.set(0..<1)
        #expect(bitmap.isEmpty)
    }

    /// Absurd lengths cost neither memory nor time. A search word by word would take years for the longest.
    @Test(
        .timeLimit(.minutes(10)),
        arguments: [(1 << 46, 65536), (1 << 63, 65536), (.max, 512)] as [(UInt64, UInt64)])
    func hugeBitmapsAreCheap(length: UInt64, granularity: UInt64) throws {
        var bitmap = try DirtyBitmap(length: length, granularity: granularity)
        for _ in 0..<1000 {
            #expect(bitmap.nextDirty(from: 0) == nil)
        }
        bitmap.set(length - 2..<length - 1)
        for _ in 0..<1000 {
            #expect(bitmap.nextDirty(from: 0)! == (length - 2) & ~(granularity - 1))
        }
        bitmap.setAll()
        bitmap.reset(length / 2..<length / 2 + 2 * granularity)
        #expect(bitmap.nextDirtyArea(from: 0)!.lowerBound == 0)
        #expect(bitmap.nextDirtyArea(from: length - 1) == length - 1..<length)
    }

    @Test func searchSurvivesChanges() throws {
        var bitmap = try DirtyBitmap(length: 1 << 30, granularity: 65536)
        bitmap.setAll()
        var offset: UInt64 = 0
        var seen = 0
        while let area = bitmap.nextDirtyArea(from: offset, limit: offset + (1 << 20)) {
            seen += 1
            bitmap.reset(area)
            if seen == 3 { bitmap.set(0..<1) }
            offset = area.upperBound
        }
        #expect(seen == 1024)
        #expect(bitmap.nextDirtyArea(from: 0) == 0..<65536)
    }
}
