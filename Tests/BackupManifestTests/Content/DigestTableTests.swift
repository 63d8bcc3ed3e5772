// SPDX-License-Identifier: GPL-2.0-or-later

import Testing

@testable import BackupManifest

@Suite struct DigestTableTests {
    /// The next digest is found wherever it is, near or so far that no search step by step would end.
    @Test(arguments: [0, 1, 255, 256, 63 << 8, 64 << 8, 65 << 8, 1 << 20, 1 << 43] as [UInt64])
    func next(place: UInt64) {
        var table = DigestTable(.xxh3)
        let bytes: [UInt8] = [1]
        table[place] = DigestAlgorithm.xxh3.digest(of: bytes.span.bytes)
        #expect(table.next(from: 0, limit: .max) == place)
        #expect(table.next(from: place, limit: place + 1) == place)
        #expect(table.next(from: 0, limit: place) == nil)
        #expect(table.next(from: place + 1, limit: .max) == nil)
        table[place + 70_000] = table[place]
        #expect(table.next(from: place + 1, limit: .max) == place + 70_000)
        table[place] = nil
        #expect(table.next(from: 0, limit: .max) == place + 70_000)
    }
}
