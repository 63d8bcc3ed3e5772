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
        try await device.resize(to: UInt64(length))
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
                _ = try await device.copyRange(from: source, to: range.lowerBound, length: UInt64(range.count))
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
        try await device.resize(to: UInt64(length))
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
                try await device.write(at: 0, bytes: [UInt8](repeating: 0x11, count: 9000))
                storage.setFaults([.call(storage.counts[kind, default: 0] + number, of: kind)])
                await #expect { try await device.commit() } throws: { ($0 as? BlockError)?.errno == .ioError }
                #expect(memory.snapshot.allBytes.prefix(512).allSatisfy { $0 == 0 }, "\(kind) \(number)")
            }
        }
    }

    /// The first change, of whatever kind, fails where the head can't be wiped, and changes nothing then.
    @Test(arguments: [RequestKind.write, .writeZeroes, .copyRange, .resize]) func failingWipe(kind: RequestKind)
        async throws
    {
        for (failing, number) in [(RequestKind.write, 1), (.flush, 1), (.write, 2)] {
            let memory = MemoryDevice(bytes: Self.old(9000))
            let storage = FaultInjectingDevice(memory, faults: [.call(number, of: failing)])
            let device = HeadLastDevice(storage, headLength: Self.headLength)
            await #expect { try await change(device, kind) } throws: { ($0 as? BlockError)?.errno == .ioError }
            #expect(memory.snapshot.allBytes.dropFirst(512) == Self.old(9000).dropFirst(512))
            // It is tried again.
            try await change(device, kind)
            #expect(memory.snapshot.allBytes.prefix(Self.headLength).allSatisfy { $0 == 0 })
        }
    }

    private func change(_ device: HeadLastDevice, _ kind: RequestKind) async throws {
        switch kind {
        case .writeZeroes: try await device.writeZeroes(at: 8000, length: 10)
        case .copyRange:
            let source = StorageLocation(device: MemoryDevice(length: 500), offset: 0)
            _ = try await device.copyRange(from: source, to: 8000, length: 10)
        case .resize: try await device.resize(to: 8500)
        default: try await device.write(at: 8000, bytes: [1, 2])
        }
    }

    /// Until something changes that lies behind the head, the storage is as it was: also where its new head is known.
    @Test func asItWas() async throws {
        let memory = MemoryDevice(bytes: Self.old(9000))
        let device = HeadLastDevice(memory, headLength: Self.headLength)
        try await device.keepHead()
        _ = try await device.bytes(at: 0, count: 9000)
        try await device.write(at: 0, bytes: [1, 2, 3])
        try await device.writeZeroes(at: 600, length: 100)
        try await device.flush()
        #expect(memory.snapshot.allBytes == Self.old(9000))
        #expect(try await device.bytes(at: 0, count: 3) == [1, 2, 3])
        try await device.commit()
        #expect(memory.snapshot.allBytes.prefix(4) == [1, 2, 3, 0xee])
    }

    /// Many at once: whoever comes first wipes, and nobody writes before that is done.
    @Test func manyAtOnce() async throws {
        let memory = MemoryDevice(bytes: Self.old(100_000))
        let storage = FaultInjectingDevice(memory)
        storage.startRecording(initial: memory.snapshot)
        let device = HeadLastDevice(storage, headLength: Self.headLength)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<20 {
                group.addTask { try await device.write(at: 5000 + UInt64(index) * 100, bytes: [UInt8(index)]) }
            }
            try await group.waitForAll()
        }
        let requests = try #require(storage.recording).requests
        #expect(requests.count == 23)
        #expect(requests[0] == .write(offset: 0, bytes: [UInt8](repeating: 0, count: 512)))
        #expect(requests[1].isFlush)
    }

    /// An image's head is wiped before its data changes, which lies in another file.
    @Test func leader() async throws {
        let (image, data) = (MemoryDevice(bytes: Self.old(9000)), MemoryDevice(bytes: Self.old(9000)))
        let head = HeadLastDevice(image, headLength: Self.headLength)
        let device = HeadLastDevice(data, headLength: Self.headLength, leader: head)
        try await device.write(at: 0, bytes: [1])
        #expect(image.snapshot.allBytes == Self.old(9000))
        try await device.write(at: 5000, bytes: [1])
        #expect(image.snapshot.allBytes.prefix(512).allSatisfy { $0 == 0 })
        #expect(data.snapshot.allBytes.prefix(512).allSatisfy { $0 == 0 })
    }

    /// A file that is made begins with a mark, which is there until the end, and again where that fails.
    @Test func marked() async throws {
        let memory = MemoryDevice(bytes: UnfinishedMark.sector)
        let storage = FaultInjectingDevice(memory)
        let device = HeadLastDevice(storage, headLength: Self.headLength, isMarked: true)
        try await device.resize(to: 9000)
        try await device.write(at: 0, bytes: [UInt8](repeating: 0x11, count: 9000))
        #expect(UnfinishedMark.isMark(Array(memory.snapshot.allBytes.prefix(512))))
        storage.setFaults([.call(storage.counts[.flush, default: 0] + 2, of: .flush)])
        await #expect { try await device.commit() } throws: { ($0 as? BlockError)?.errno == .ioError }
        #expect(memory.snapshot.allBytes.prefix(512) == UnfinishedMark.sector[...])
        storage.setFaults([])
        try await device.commit()
        #expect(memory.snapshot.allBytes == [UInt8](repeating: 0x11, count: 9000))
        #expect(UnfinishedMark.isMark([]))
        #expect(!UnfinishedMark.isMark([0, 0, 0]))
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
