// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage
import TestSupport
import Testing

/// Storage whose head is held back: it reads as if it were not, and nothing looks whole before the first sector, which is
/// written behind everything else.
@Suite struct HeadLastDeviceTests {
    private static let headLength = 4096

    private static func old(_ count: Int) -> [UInt8] { [UInt8](repeating: 0xee, count: count) }

    /// Random requests, which often lie across the head's end, against an array.
    @Test(arguments: [0, 100, 512, 513, 4096, 4097, 20_000]) func againstAnArray(length: Int) async throws {
        let storage = MemoryDevice(bytes: Self.old(length))
        let device = HeadLastDevice(storage, headLength: Self.headLength)
        try await device.keepHead()
        try await device.begin()
        var expected = Self.old(length)
        var random = SeededRandom(seed: UInt64(length))
        for step in 0..<300 where length > 0 {
            var range = random.range(below: UInt64(length))
            if step % 2 == 0 { range = range.lowerBound % 8192 % UInt64(length)..<UInt64(length) }
            range = range.lowerBound..<min(range.upperBound, range.lowerBound + 5000)
            let bytes = random.bytes(count: range.count)
            let place = Int(range.lowerBound)..<Int(range.upperBound)
            switch step % 4 {
            case 0, 1:
                try await device.write(at: range.lowerBound, bytes: bytes)
                expected.replaceSubrange(place, with: bytes)
            case 2:
                try await device.writeZeroes(at: range.lowerBound, length: UInt64(range.count))
                expected.replaceSubrange(place, with: [UInt8](repeating: 0, count: range.count))
            default:
                let source = StorageLocation(device: MemoryDevice(bytes: [1] + bytes), offset: 1)
                try await device.copyRange(from: source, to: range.lowerBound, length: UInt64(range.count))
                expected.replaceSubrange(place, with: bytes)
            }
            #expect(try await device.bytes(at: range.lowerBound, count: range.count) == Array(expected[place]))
            #expect(storage.snapshot.allBytes.prefix(Self.headLength).allSatisfy { $0 == 0 })
        }
        #expect(try await device.bytes(at: 0, count: length) == expected)
        try await device.commit()
        #expect(storage.snapshot.allBytes == expected)
    }

    /// A run on storage with content: a power cut at any time leaves a first sector of zeroes, or everything.
    @Test(arguments: [300, 512, 4096, 9000]) func powerCuts(length: Int) async throws {
        let memory = MemoryDevice(bytes: Self.old(length))
        let storage = FaultInjectingDevice(memory)
        storage.startRecording(initial: memory.snapshot)
        let device = HeadLastDevice(storage, headLength: Self.headLength)
        try await device.begin()
        let begun = try #require(storage.recording).requests.count
        let content = [UInt8](repeating: 0x11, count: length)
        try await device.write(at: 0, bytes: content)
        try await device.commit()
        let recording = try #require(storage.recording)
        var random = SeededRandom(seed: 1)
        for count in 0...recording.requests.count {
            for _ in 0..<20 {
                let left = recording.content(afterPrefix: count, losingSome: &random).allBytes
                let sector = left.prefix(512)
                let isWiped = sector.allSatisfy { $0 == 0 }
                if count <= begun, left == Self.old(length) { continue }
                #expect(isWiped || left == content, "after \(count) of \(recording.requests.count) requests")
            }
        }
        #expect(recording.requests.last == .flush)
    }

    /// Whatever fails at the end: the error is told, and the first sector is wiped as far as that can be had.
    @Test func failingCommit() async throws {
        for kind in [RequestKind.write, .flush] {
            for number in 1...2 {
                let memory = MemoryDevice(bytes: Self.old(9000))
                let storage = FaultInjectingDevice(memory)
                let device = HeadLastDevice(storage, headLength: Self.headLength)
                try await device.begin()
                try await device.write(at: 0, bytes: [UInt8](repeating: 0x11, count: 9000))
                storage.setFaults([.call(storage.counts[kind, default: 0] + number, of: kind)])
                await #expect { try await device.commit() } throws: { ($0 as? BlockError)?.errno == .ioError }
                #expect(memory.snapshot.allBytes.prefix(512).allSatisfy { $0 == 0 }, "\(kind) \(number)")
            }
        }
    }

    @Test func failingBegin() async throws {
        for (kind, number) in [(RequestKind.write, 1), (.flush, 1), (.write, 2)] {
            let storage = FaultInjectingDevice(
                MemoryDevice(bytes: Self.old(9000)), faults: [.call(number, of: kind)])
            let device = HeadLastDevice(storage, headLength: Self.headLength)
            await #expect { try await device.begin() } throws: { ($0 as? BlockError)?.errno == .ioError }
        }
    }

    /// Requests outside the storage are refused, also where the head's memory would have room for them.
    @Test func outOfRange() async throws {
        let device = HeadLastDevice(MemoryDevice(length: 100), headLength: Self.headLength)
        let isRefused = { (error: any Error) in
            if case .outOfRange? = error as? BlockError { true } else { false }
        }
        await #expect { try await device.write(at: 99, bytes: [1, 2]) } throws: { isRefused($0) }
        await #expect { try await device.writeZeroes(at: 99, length: 2) } throws: { isRefused($0) }
        await #expect { try await device.bytes(at: 101, count: 0) } throws: { isRefused($0) }
        await #expect { try await device.blockStatus(at: 0, length: 101, in: .chain) } throws: { isRefused($0) }
        let source = StorageLocation(device: MemoryDevice(length: 500), offset: 0)
        await #expect { try await device.copyRange(from: source, to: 50, length: 51) } throws: { isRefused($0) }
    }
}
