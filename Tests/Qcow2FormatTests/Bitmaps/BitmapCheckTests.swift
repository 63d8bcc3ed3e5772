// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import TestSupport
import Testing

@testable import Qcow2Format

/// Changes that are only checked: what could not be made is refused, and nothing is written either way.
@Suite struct BitmapCheckTests {
    @Test func nothingIsWritten() async throws {
        let device = MemoryDevice(length: 0)
        var options = Qcow2Options(size: 1 << 40)
        options.clusterBits = 21
        let image = try await Qcow2Image.create(options, in: device)
        try await image.close()
        let bitmaps = try await Qcow2File(device).openBitmaps(forWriting: true)
        try await bitmaps.apply([.add(name: "old", granularity: nil, isRecording: true)])
        let before = try await device.contents(at: 0, count: Int(device.length))

        let fine: [BitmapChange] = [
            .add(name: "new", granularity: 65536, isRecording: true), .clear(name: "new"), .remove(name: "old"),
        ]
        try await bitmaps.check(fine)
        let refused: [[BitmapChange]] = [
            [.add(name: "old", granularity: nil, isRecording: true)],
            [.remove(name: "old"), .clear(name: "old")],
            [.clear(name: "new")],
            [.add(name: "", granularity: nil, isRecording: true)],
            [.add(name: "fine", granularity: 1000, isRecording: true)],
            [.add(name: String(repeating: "x", count: 1024), granularity: nil, isRecording: true)],
        ]
        for changes in refused {
            await #expect(throws: BlockError.self, "\(changes)") { try await bitmaps.check(changes) }
        }
        #expect(bitmaps.list.map(\.name) == ["old"])
        #expect(haveSameBytes(before, try await device.contents(at: 0, count: Int(device.length))))
        // Once checked it can be done.
        try await bitmaps.apply(fine)
        #expect(bitmaps.list.map(\.name) == ["new"])
    }
}
