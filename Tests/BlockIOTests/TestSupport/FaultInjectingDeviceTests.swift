// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage
import TestSupport
import Testing

/// Faults strike exactly the calls they name, and recordings give back each state of the disk.
struct FaultInjectingDeviceTests {
    private func perform(_ kind: RequestKind, on device: FaultInjectingDevice) async throws(BlockError) {
        let bytes = [UInt8](repeating: 3, count: 512)
        switch kind {
        case .read:
            var buffer = AlignedBuffer(count: 512)
            var span = buffer.mutableBytes
            try await device.read(at: 0, into: &span)
        case .blockStatus: _ = try await device.blockStatus(at: 0, length: 512, in: .chain)
        case .write: try await device.write(at: 0, from: bytes.span.bytes)
        case .writeCompressed: try await device.writeCompressed(at: 0, from: bytes.span.bytes)
        case .writeZeroes: try await device.writeZeroes(at: 0, length: 512)
        case .copyRange:
            _ = try await device.copyRange(
                from: StorageLocation(device: device.storage, offset: 512), to: 0, length: 512)
        case .discard: try await device.discard(at: 0, length: 512)
        case .flush: try await device.flush()
        case .resize: try await device.resize(to: 4096)
        }
    }

    @Test(arguments: RequestKind.allCases)
    func onlyTheNamedCallFails(kind: RequestKind) async throws {
        let base = MemoryDevice(length: 4096)
        let device = FaultInjectingDevice(base, faults: [.call(2, of: kind, with: .noSpace)])
        for other in RequestKind.allCases where other != kind {
            try await perform(other, on: device)
            try await perform(other, on: device)
        }
        try await perform(kind, on: device)
        let before = base.counts[kind]
        await #expect {
            try await perform(kind, on: device)
        } throws: { error in
            (error as? BlockError)?.errno == .noSpace
        }
        #expect(base.counts[kind] == before)
        try await perform(kind, on: device)
        #expect(device.counts[kind] == 3)
    }

    @Test func everyCallFromTheNamedOnFails() async throws {
        let device = FaultInjectingDevice(MemoryDevice(length: 4096), faults: [.calls(from: 3, of: .write)])
        try await perform(.write, on: device)
        try await perform(.write, on: device)
        for _ in 0..<5 {
            await #expect(throws: BlockError.self) { try await perform(.write, on: device) }
        }
    }

    @Test func eachPrefixCanBeReplayed() async throws {
        var random = SeededRandom(seed: 11)
        let base = MemoryDevice(bytes: random.bytes(count: 40_000))
        let device = FaultInjectingDevice(base)
        device.startRecording(initial: base.snapshot)
        var states = [base.snapshot]
        for number in 0..<40 {
            let range = random.range(below: base.length)
            switch number % 5 {
            case 0: try await device.writeZeroes(at: range.lowerBound, length: UInt64(range.count))
            case 1: try await device.resize(to: UInt64.random(in: 20_000...60_000, using: &random))
            case 2: try await device.flush()
            case 3:
                _ = try await device.copyRange(from: StorageLocation(device: base, offset: 0), to: 5000, length: 10_000)
            default: try await device.write(at: range.lowerBound, from: random.bytes(count: range.count).span.bytes)
            }
            states.append(base.snapshot)
        }
        let recording = try #require(device.recording)
        #expect(recording.requests.count == 40)
        for (count, state) in states.enumerated() {
            #expect(recording.content(afterPrefix: count) == state)
        }
    }

    @Test func aReorderingDiskKeepsWhatWasFlushed() async throws {
        let base = MemoryDevice(length: 64)
        let device = FaultInjectingDevice(base)
        device.startRecording(initial: base.snapshot)
        try await device.write(at: 0, bytes: [1])
        try await device.flush()
        try await device.write(at: 1, bytes: [2])
        try await device.write(at: 2, bytes: [3])
        let recording = try #require(device.recording)
        var random = SeededRandom(seed: 5)
        var seen: Set<[UInt8]> = []
        for _ in 0..<100 {
            seen.insert(recording.content(afterPrefix: 4, losingSome: &random).bytes(at: 0, count: 3))
        }
        #expect(seen == [[1, 0, 0], [1, 2, 0], [1, 0, 3], [1, 2, 3]])
    }

    @Test func afterAPowerCutNothingPersists() async throws {
        let base = MemoryDevice(length: 4096)
        let device = FaultInjectingDevice(base)
        device.cutPower(afterMutations: 2, initial: base.snapshot)
        for offset in UInt64(0)..<4 {
            try await device.write(at: offset, bytes: [9])
            try await device.flush()
        }
        #expect(try #require(device.persisted).bytes(at: 0, count: 4) == [9, 9, 0, 0])
        #expect(base.snapshot.bytes(at: 0, count: 4) == [9, 9, 9, 9])
    }
}
