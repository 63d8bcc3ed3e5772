// SPDX-License-Identifier: GPL-2.0-or-later

import TestSupport
import Testing

@testable import Qcow2Format

@Suite struct TableCacheTests {
    @Test func givesUpTheLeastRecentlyUsed() {
        var cache = TableCache(capacity: 3)
        for offset: UInt64 in [0, 512, 1024] {
            #expect(cache.victim() == nil)
            cache.insert([UInt8(offset / 512)], at: offset, isDirty: offset == 512)
        }
        #expect(cache.bytes(at: 0) == [0])
        #expect(cache.victim()?.offset == 512)
        #expect(cache.victim()?.isDirty == true)
        cache.modify(512) { $0[0] = 7 }
        #expect(cache.victim()?.offset == 1024)
        #expect(cache.victim()?.isDirty == false)
        cache.remove(1024)
        #expect(cache.victim() == nil)
        #expect(cache.bytes(at: 512) == [7])
        #expect(cache.bytes(at: 1024) == nil)
    }

    @Test func knowsWhatIsDirty() {
        var cache = TableCache(capacity: 8)
        for offset: UInt64 in [1024, 0, 512, 2048] { cache.insert([0], at: offset, isDirty: offset != 512) }
        #expect(cache.dirtyOffsets() == [0, 1024, 2048])
        cache.markClean(1024)
        cache.remove(in: 2048..<4096, pieceLength: 512)
        #expect(cache.dirtyOffsets() == [0])
        #expect(!cache.contains(2048) && cache.contains(512))
    }
}
