// SPDX-License-Identifier: GPL-2.0-or-later

import DirtyBitmaps
import Testing

/// What bitmaps of very large disks cost. Times are the least of many, since the machine may be busy.
@Suite(.timeLimit(.minutes(10))) struct BitmapCostTests {
    /// 64 TiB.
    static let length: UInt64 = 1 << 46
    static let granularity: UInt64 = 65536
    /// A bit for each granule: 128 MiB.
    static let bytesOfBits = Int(length / granularity / 8)
    /// Bytes of the disk in a page of 32768 bits.
    static let page: UInt64 = 32768 * granularity

    @Test func anEmptyOneCostsNothing() throws {
        var bitmap = try DirtyBitmap(length: Self.length, granularity: Self.granularity)
        #expect(bitmap.memoryUse == 0)
        bitmap.setAll()
        #expect(bitmap.memoryUse == 0)
        bitmap.reset(0..<Self.length / 2)
        #expect(bitmap.memoryUse < 4096 * 8)
    }

    /// The worst case: no page is all dirty or all clean.
    @Test func theWorstCaseIsABitForEachGranule() throws {
        var bitmap = try DirtyBitmap(length: Self.length, granularity: Self.granularity)
        for start in stride(from: 0, to: Self.length, by: Int(Self.page)) { bitmap.set(start..<start + 1) }
        #expect(bitmap.dirtyGranules == Self.length / Self.page)
        #expect(bitmap.memoryUse >= Self.bytesOfBits && bitmap.memoryUse < Self.bytesOfBits * 105 / 100)
        // A copy shares all of it, and a change copies one page and the way to it.
        let clock = ContinuousClock()
        let times = (0..<50).map { _ in
            var copy = bitmap
            let time = clock.measure { copy.set(Self.granularity * 5..<Self.granularity * 5 + 1) }
            #expect(copy.dirtyGranules == bitmap.dirtyGranules + 1)
            return time
        }
        #expect(times.min()! < .milliseconds(5))
        bitmap.resetAll()
        #expect(bitmap.memoryUse == 0)
    }

    @Test func scanningAnEmptyOneTakesMicroseconds() throws {
        let bitmap = try DirtyBitmap(length: Self.length, granularity: Self.granularity)
        let clock = ContinuousClock()
        let times = (0..<50).map { _ in clock.measure { #expect(bitmap.nextDirtyArea(from: 0) == nil) } }
        #expect(times.min()! < .microseconds(100))
    }

    /// A single owner changes its bits in place, without copying the page.
    @Test func changesAreMadeInPlace() throws {
        var bitmap = try DirtyBitmap(length: Self.length, granularity: Self.granularity)
        bitmap.set(0..<1)
        let clock = ContinuousClock()
        func leastTime(keepingCopies: Bool) -> Duration {
            var copies: [DirtyBitmap] = []
            let times = (1..<500 as Range<UInt64>).map { index in
                if keepingCopies { copies.append(bitmap) }
                let start = index &* 2 &* Self.granularity
                return clock.measure { bitmap.set(start..<start + 1) }
            }
            bitmap.reset(1..<Self.length)
            return times.min()!
        }
        let copying = leastTime(keepingCopies: true)
        let inPlace = leastTime(keepingCopies: false)
        #expect(inPlace < copying)
        #expect(bitmap.dirtyGranules == 1)
    }

    @Test func changesToACopyStayThere() throws {
        var bitmap = try DirtyBitmap(length: 1 << 40, granularity: 65536)
        for index in 0..<200 as Range<UInt64> { bitmap.set(index << 32..<index << 32 + 1) }
        let ranges = bitmap.dirtyRanges()
        var copies: [DirtyBitmap] = []
        for index in 0..<20 as Range<UInt64> {
            var copy = bitmap
            if index % 2 == 0 {
                copy.reset(index << 32..<(index + 1) << 32)
            } else {
                copy.set(index << 32..<(index + 1) << 32)
            }
            copies.append(copy)
        }
        #expect(bitmap.dirtyRanges() == ranges)
        for (index, copy) in copies.enumerated() {
            #expect(copy.dirtyGranules == (index % 2 == 0 ? 199 : 199 + 65536))
        }
    }
}
