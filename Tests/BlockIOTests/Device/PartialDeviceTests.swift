// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import TestSupport
import Testing

/// Devices that show more or less of a file than it has.
@Suite struct PartialDeviceTests {
    /// Up to the next whole sector a raw disk reads as zeroes, and says so.
    @Test(arguments: [0, 1, 511, 512, 513, 1000, 4095]) func sectors(length: Int) async throws {
        let bytes = [UInt8](repeating: 7, count: length)
        let disk = try SectorDisk(MemoryDevice(bytes: bytes))
        #expect(disk.length == UInt64((length + 511) / 512 * 512))
        let expected = bytes + [UInt8](repeating: 0, count: Int(disk.length) - length)
        for start in [0, length / 2, max(length - 1, 0), length] where start <= expected.count {
            #expect(
                try await disk.bytes(at: UInt64(start), count: expected.count - start) == Array(expected[start...]))
        }
        let extents = try await disk.extents()
        #expect(extents.filter { !$0.readsAsZero }.reduce(0) { $0 + $1.length } == UInt64(length))
        #expect(extents.reduce(0) { $0 + $1.length } == disk.length)
    }

    @Test func tooLongForSectors() throws {
        let storage = MemoryDevice(length: .max - 5)
        #expect(throws: BlockError.self) { try SectorDisk(storage) }
    }

    /// What lies behind the limit is neither shown nor changed.
    @Test func limit() async throws {
        let storage = MemoryDevice(bytes: [UInt8](repeating: 9, count: 100))
        let device = LimitedDevice(storage, length: 60)
        #expect(device.length == 60)
        try await device.write(at: 50, bytes: [UInt8](repeating: 1, count: 10))
        try await device.writeZeroes(at: 0, length: 10)
        try await device.discard(at: 10, length: 10)
        await #expect(throws: BlockError.self) {
            try await device.write(at: 51, bytes: [UInt8](repeating: 1, count: 10))
        }
        await #expect(throws: BlockError.self) { try await device.writeZeroes(at: 60, length: 1) }
        await #expect(throws: BlockError.self) { try await device.discard(at: 0, length: 61) }
        await #expect(throws: BlockError.self) { try await device.bytes(at: 60, count: 1) }
        await #expect(throws: BlockError.self) { try await device.resize(to: 60) }
        let expected =
            [UInt8](repeating: 0, count: 20) + [UInt8](repeating: 9, count: 30) + [UInt8](repeating: 1, count: 10)
        #expect(try await device.bytes(at: 0, count: 60) == expected)
        #expect(storage.snapshot.allBytes == expected + [UInt8](repeating: 9, count: 40))
    }
}
