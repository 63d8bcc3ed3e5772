// SPDX-License-Identifier: GPL-2.0-or-later

import TestSupport
import Testing

@testable import Qcow2Format

/// However a change of the header is cut off, between sectors too: where its bitmaps are declared valid, it is the old
/// header or the new one.
@Suite struct HeaderSectorsTests {
    private static func cluster(_ random: inout SeededRandom, like other: [UInt8]? = nil) -> [UInt8] {
        var bytes = other ?? random.bytes(count: 4096)
        bytes[7] = 3
        for _ in 0..<Int.random(in: 0...3, using: &random) {
            bytes[Int.random(in: 8..<4096, using: &random)] = UInt8.random(in: 0...255, using: &random)
        }
        bytes[95] = UInt8.random(in: 0...3, using: &random)
        return bytes
    }

    @Test(arguments: 0..<200) func tornAnywhere(seed: Int) {
        var random = SeededRandom(seed: UInt64(seed))
        let old = Self.cluster(&random)
        let new = Self.cluster(&random, like: old)
        let steps = HeaderSectors.steps(from: old, to: new)
        var disk = old
        for step in steps {
            #expect(step.offset % 512 == 0 && step.bytes.count % 512 == 0 && !step.bytes.isEmpty)
            // Any of its sectors may be on the disk when the power goes.
            for _ in 0..<20 {
                var torn = disk
                for start in stride(from: 0, to: step.bytes.count, by: 512) where Bool.random(using: &random) {
                    torn.replaceSubrange(
                        step.offset + start..<step.offset + start + 512, with: step.bytes[start..<start + 512])
                }
                #expect(torn[95] & 1 == 0 || torn == old || torn == new)
            }
            disk.replaceSubrange(step.offset..<step.offset + step.bytes.count, with: step.bytes)
        }
        #expect(disk == new)
    }

    @Test func oneSectorIsOneStep() {
        let old = [UInt8](repeating: 3, count: 2048)
        var new = old
        new[95] = 2
        new[511] = 9
        #expect(HeaderSectors.steps(from: old, to: new) == [.init(offset: 0, bytes: Array(new[..<512]))])
        #expect(HeaderSectors.steps(from: old, to: old).isEmpty)
    }
}
