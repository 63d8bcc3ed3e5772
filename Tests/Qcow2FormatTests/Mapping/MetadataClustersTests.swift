// SPDX-License-Identifier: GPL-2.0-or-later

import TestSupport
import Testing

@testable import Qcow2Format

/// The clusters that hold metadata, against a set of cluster numbers.
@Suite struct MetadataClustersTests {
    @Test func againstASet() {
        var random = SeededRandom(seed: 5)
        for round in 0..<300 {
            let bits = 9 + round % 4
            let ranges = (0..<Int.random(in: 0...12, using: &random)).map { _ in
                (
                    offset: UInt64.random(in: 0..<200_000, using: &random),
                    length: UInt64.random(in: 0..<9000, using: &random)
                )
            }
            let clusters = MetadataClusters(clusterBits: bits, ranges: ranges)
            var model: Set<UInt64> = []
            for range in ranges where range.length > 0 {
                model.formUnion(range.offset >> UInt64(bits)...(range.offset + range.length - 1) >> UInt64(bits))
            }
            for _ in 0..<50 {
                let offset = UInt64.random(in: 0..<220_000, using: &random)
                let length = UInt64.random(in: 1..<9000, using: &random)
                let touched = offset >> UInt64(bits)...(offset + length - 1) >> UInt64(bits)
                let wanted = touched.first(where: model.contains)
                #expect(clusters.firstOverlap(offset: offset, length: length) == wanted.map { $0 << UInt64(bits) })
            }
        }
    }
}
