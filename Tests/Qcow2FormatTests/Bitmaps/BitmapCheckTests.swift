// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import DirtyBitmaps
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

    /// A cluster of the disk that is a bitmap's too: giving it back, or writing to it, would change the disk.
    @Test(arguments: ["directory", "table", "bits"], [true, false])
    func clustersOfTheDiskAreRefused(structure: String, isCopied: Bool) async throws {
        let device = MemoryDevice(length: 0)
        var options = Qcow2Options(size: 1 << 20)
        options.clusterBits = 12
        let image = try await Qcow2Image.create(options, in: device)
        try await image.write(at: 0, bytes: [UInt8](repeating: 0xAA, count: 4096))
        try await image.close()
        let bitmaps = try await Qcow2File(device).openBitmaps(forWriting: true)
        var bits = try DirtyBitmap(length: 1 << 20, granularity: 512)
        bits.set(0..<5000)
        try await bitmaps.apply([
            .add(name: "one", granularity: 512, isRecording: true), .store(bits, as: "one"),
        ])
        try await bitmaps.close()

        let location = try #require(bitmaps.state.withLock { $0.location })
        let entry = bitmaps.state.withLock { $0.entries[0] }
        let table = try await bitmaps.reader.table(of: entry)
        var place: UInt64
        switch structure {
        case "directory": place = location.directoryOffset
        case "table": place = entry.tableOffset
        default:
            guard case .stored(let host) = table[0] else { throw BlockError.readOnly(device: "no bits are stored") }
            place = host.bytes
        }
        if isCopied { place |= 1 << 63 }
        // The second entry of the L2 table.
        let header = try await device.contents(at: 40, count: 8)
        let l1: UInt64 = try header.span.bytes.bigEndian(at: 0)
        let firstEntry = try await device.contents(at: l1, count: 8)
        let l2: UInt64 = try firstEntry.span.bytes.bigEndian(at: 0)
        device.fill((0..<8).map { UInt8(truncatingIfNeeded: place >> (56 - 8 * $0)) }, at: (l2 & ~(1 << 63)) + 8)
        let before = device.snapshot

        await #expect(throws: BlockError.self) { _ = try await Qcow2File(device).openBitmaps(forWriting: true) }
        #expect(device.snapshot == before)
    }

    /// What is written to one of two tables in the same place would change the other.
    @Test func tablesInOnePlaceAreRefused() async throws {
        let device = MemoryDevice(length: 0)
        var options = Qcow2Options(size: 1 << 20)
        options.clusterBits = 12
        try await Qcow2Image.create(options, in: device).close()
        // Nothing is allocated, so the L1 table passes for an empty refcount table.
        device.fill(try await device.contents(at: 40, count: 8), at: 48)
        let before = device.snapshot

        let error = await #expect(throws: BlockError.self) {
            _ = try await Qcow2File(device).openBitmaps(forWriting: true)
        }
        #expect(error.map { "\($0)".contains("refcount table") } == true)
        #expect(device.snapshot == before)
    }
}
