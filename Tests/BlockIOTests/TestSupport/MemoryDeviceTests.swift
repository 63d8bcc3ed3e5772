// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import TestSupport
import Testing

/// The devices that other tests trust: compared with plain arrays.
struct MemoryDeviceTests {
    @Test(arguments: UInt64(1)...8)
    func agreesWithArrays(seed: UInt64) async throws {
        var random = SeededRandom(seed: seed)
        let length: UInt64 = 300_000
        let device = MemoryDevice(length: length)
        var content = [UInt8](repeating: 0, count: Int(length))
        var statuses = [RangeStatus](repeating: .zero, count: Int(length))
        for _ in 0..<60 {
            let range = random.range(below: length)
            let indices = Int(range.lowerBound)..<Int(range.upperBound)
            switch Int.random(in: 0..<4, using: &random) {
            case 0:
                try await device.writeZeroes(at: range.lowerBound, length: UInt64(range.count))
                content.replaceSubrange(indices, with: repeatElement(0, count: range.count))
                statuses.replaceSubrange(indices, with: repeatElement(.zero, count: range.count))
            case 1:
                try await device.discard(at: range.lowerBound, length: UInt64(range.count))
                content.replaceSubrange(indices, with: repeatElement(0, count: range.count))
                statuses.replaceSubrange(indices, with: repeatElement(.unallocated, count: range.count))
            default:
                let bytes = random.bytes(count: range.count)
                try await device.write(at: range.lowerBound, from: bytes.span.bytes)
                content.replaceSubrange(indices, with: bytes)
                statuses.replaceSubrange(indices, with: repeatElement(.data, count: range.count))
            }
        }
        #expect(device.snapshot.allBytes == content)

        let read = try await device.bytes(at: 123_456, count: 1000)
        #expect(read == Array(content[123_456..<124_456]))

        var position: UInt64 = 0
        var previous: RangeStatus?
        while position < length {
            let (status, end) = device.statuses.status(at: position)
            #expect(statuses[Int(position)..<Int(end)].allSatisfy { $0 == status })
            #expect(status != previous)
            previous = status
            position = end
        }
        #expect(position == length)
    }

    @Test func resizeCutsAndAddsZeroes() async throws {
        let device = MemoryDevice(bytes: [UInt8](repeating: 9, count: 200_000))
        try await device.resize(to: 70_000)
        try await device.resize(to: 210_000)
        let expected = [UInt8](repeating: 9, count: 70_000) + [UInt8](repeating: 0, count: 140_000)
        #expect(device.snapshot.allBytes == expected)
        #expect(device.statuses.runs == [.init(end: 70_000, status: .data), .init(end: 210_000, status: .zero)])
        try await device.resize(to: 0)
        #expect(device.statuses.runs.isEmpty)
    }

    @Test func unallocatedRangesShowTheBackingDevice() async throws {
        let backing = MemoryDevice(bytes: [UInt8](repeating: 1, count: 100))
        let device = MemoryDevice(length: 300, backing: backing)
        try await device.write(at: 50, bytes: [2, 2])
        let read = try await device.bytes(at: 0, count: 300)
        let ones = [UInt8](repeating: 1, count: 50)
        #expect(read == ones + [2, 2] + ones[..<48] + [UInt8](repeating: 0, count: 200))

        var extent = try await device.blockStatus(at: 0, length: 300, in: .topLayer)
        #expect(extent == BlockExtent(length: 50, isAllocated: false, readsAsZero: false))
        extent = try await device.blockStatus(at: 60, length: 240, in: .chain)
        #expect(extent.length == 40 && extent.isAllocated && extent.depth == 1)
        #expect(extent.location == StorageLocation(device: backing, offset: 60))
        extent = try await device.blockStatus(at: 100, length: 200, in: .chain)
        #expect(extent.length == 200 && !extent.isAllocated && extent.readsAsZero)
    }

    @Test func requestsOutsideTheDiskAreRefused() async throws {
        let device = MemoryDevice(length: 100)
        for (offset, length) in [(UInt64(0), 101), (100, 1), (.max, 1), (101, 0)] {
            await #expect(throws: BlockError.self) {
                try await device.write(at: offset, from: [UInt8](repeating: 0, count: length).span.bytes)
            }
            await #expect(throws: BlockError.self) {
                try await device.writeZeroes(at: offset, length: UInt64(length))
            }
        }
        try await device.writeZeroes(at: 100, length: 0)
    }

    @Test func aDiskLargerThanMemoryIsFine() async throws {
        let device = MemoryDevice(length: 1 << 60)
        try await device.write(at: 1 << 59, bytes: [7])
        try await device.writeZeroes(at: 1, length: 1 << 58)
        #expect(device.snapshot.bytes(at: 1 << 59, count: 2) == [7, 0])
    }
}
