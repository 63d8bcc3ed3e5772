// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import TestSupport
import Testing

@testable import BackupService

/// The check agrees with a look at each byte, whatever the pieces in which the devices answer.
@Suite struct OverlayCheckTests {
    private static let clusterSize: UInt64 = 65536

    private static func disk(_ ranges: [Range<UInt64>], length: UInt64, over backing: MemoryDevice) -> MemoryDevice {
        let disk = MemoryDevice(length: length, backing: backing)
        for range in ranges { disk.setStatus(range.lowerBound % 1024 == 0 ? .zero : .data, of: range) }
        return disk
    }

    private static func holds(_ ranges: [Range<UInt64>], _ range: Range<UInt64>) -> Bool {
        ranges.contains { $0.overlaps(range) }
    }

    @Test(arguments: 0..<200 as Range<UInt64>) func random(seed: UInt64) async throws {
        var random = SeededRandom(seed: seed)
        let length = UInt64.random(in: 1...20, using: &random) * 24 * 1024 + UInt64(seed % 2) * 512
        let backing = MemoryDevice(length: length)
        let held = (0..<Int.random(in: 0...8, using: &random)).map { _ in random.range(below: length, alignment: 512) }
        var own = (0..<Int.random(in: 0...3, using: &random)).map { _ in random.range(below: length, alignment: 512) }
        if seed % 3 == 0 { own = held }

        let check = OverlayCheck(
            source: Self.disk(held, length: length, over: backing),
            target: Self.disk(own, length: length, over: backing), clusterSize: Self.clusterSize)
        let found = try await check.firstForeignOffset()

        let expected = stride(from: 0, to: length, by: 512).first { offset in
            let cluster = offset / Self.clusterSize * Self.clusterSize
            return Self.holds(own, offset..<offset + 512) && !Self.holds(held, cluster..<cluster + Self.clusterSize)
        }
        #expect(found == expected)
    }
}
