// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import TestSupport
import Testing

@testable import BackupManifest

/// Whatever is done to a target, in whatever order: the digests are those of what it holds in the end.
@Suite struct ContentRecorderTests {
    /// Odd lengths: nothing, less than a unit, units and a bit, ranges and a bit.
    private static let lengths = [
        0, 512, 1024, 65_536, 65_536 + 512, 3 * 65_536, (1 << 20) - 512, 1 << 20, (1 << 20) + 512, 3 << 20,
        (2 << 20) + 65_536 + 1536,
    ]

    /// A target with what was done to it.
    private final class Bench {
        let target: MemoryDevice
        let recorder: ContentRecorder
        let device: RecordingDevice
        var model: ContentModel

        /// - Parameter isCramped: whether there is hardly any memory.
        init(length: Int, _ algorithm: DigestAlgorithm, isCramped: Bool) {
            target = MemoryDevice(length: UInt64(length))
            recorder = ContentRecorder(
                virtualSize: UInt64(length), algorithm: algorithm,
                scratch: isCramped ? MemoryDevice(length: 0) : nil,
                limits: isCramped ? .init(digests: 32, pending: 2) : .init())
            device = RecordingDevice(target, recorder)
            model = ContentModel(length: Int(length))
        }

        func act(_ random: inout SeededRandom) async throws {
            let length = UInt64(model.bytes.count)
            let alignment: UInt64 = random.pick([65_536, 65_536, 65_536, 1 << 20, 512, 1])
            let range = random.range(below: length, alignment: alignment)
            let (offset, count) = (range.lowerBound, range.upperBound - range.lowerBound)
            let hit = Int(offset)..<Int(offset + count)
            var content = [UInt8](repeating: 0, count: Int(count))
            // Sparse, so that zero units are in what is written.
            for _ in 0..<Int.random(in: 0...4, using: &random) {
                content[Int.random(in: content.indices, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            switch Int.random(in: 0...9, using: &random) {
            case 0...3: try await device.write(at: offset, from: content.span.bytes)
            case 4: try await device.writeCompressed(at: offset, from: content.span.bytes)
            case 5:
                let source = MemoryDevice(bytes: content)
                _ = try await device.copyRange(
                    from: StorageLocation(device: source, offset: 0), to: offset, length: count)
            case 6:
                try await device.discard(at: offset, length: count)
                content = [UInt8](repeating: 0, count: Int(count))
            default:
                try await device.writeZeroes(at: offset, length: count)
                content = [UInt8](repeating: 0, count: Int(count))
            }
            model.bytes.replaceSubrange(hit, with: content)
            model.hold(hit)
        }
    }

    @Test(arguments: lengths, 0..<4)
    func model(length: Int, kind: Int) async throws {
        let (isWhole, isCramped) = (kind % 2 == 1, kind >= 2)
        for seed in 1...(isHeavyRun ? 200 : 4) {
            var random = SeededRandom(seed: UInt64(seed) &* 7919 &+ UInt64(length))
            let bench = Bench(length: length, seed.isMultiple(of: 2) ? .xxh3 : .sha256, isCramped: isCramped)
            for _ in 0..<(length == 0 ? 0 : Int.random(in: 0...25, using: &random)) { try await bench.act(&random) }
            let digests = try await bench.recorder.finish(isWhole: isWhole, reading: bench.target)
            let isSame = haveSameBytes(bench.target.snapshot.allBytes, bench.model.bytes)
            #expect(isSame)
            try await bench.model.expect(digests, isWhole: isWhole, "seed \(seed)")
        }
    }

    /// Each unit once, zero or not, from several threads, in any order.
    @Test(arguments: 1...4) func threads(seed: UInt64) async throws {
        var random = SeededRandom(seed: seed)
        let model = ContentModel.random(length: (3 << 20) + 70_000, &random)
        let recorder = ContentRecorder(virtualSize: UInt64(model.bytes.count), algorithm: .xxh3)
        let shuffled = model.held.shuffled(using: &random)
        let workers = WorkerThreads(count: 4)
        defer { workers.stop() }
        await withTaskGroup { group in
            for worker in 0..<4 {
                group.addTask(executorPreference: workers) {
                    for unit in shuffled.dropFirst(worker).enumerated() where unit.offset % 4 == 0 {
                        let range = model.bytes(ofUnit: unit.element)
                        let content = Array(model.bytes[range])
                        if content.allSatisfy({ $0 == 0 }), unit.element % 2 == 0 {
                            recorder.recordZeroes(at: UInt64(range.lowerBound), length: UInt64(range.count))
                        } else {
                            recorder.record(at: UInt64(range.lowerBound), content.span.bytes)
                        }
                    }
                }
            }
        }
        let digests = try await recorder.finish(isWhole: false, reading: MemoryDevice(length: 0))
        try await model.expect(digests, isWhole: false)
    }

    /// What doesn't lie on the disk is nobody's business, and no trap.
    @Test func outside() async throws {
        let recorder = ContentRecorder(virtualSize: 65_536 + 512, algorithm: .xxh3)
        let content = [UInt8](repeating: 1, count: 512)
        for offset: UInt64 in [65_536 + 512, 1 << 20, .max - 511, .max] {
            recorder.record(at: offset, content.span.bytes)
            recorder.recordZeroes(at: offset, length: 512)
            recorder.recordZeroes(at: offset, length: .max)
            recorder.unsettle(offset, .max)
        }
        recorder.recordZeroes(at: 0, length: 0)
        recorder.unsettle(0, 0)
        recorder.record(at: 0, [UInt8]().span.bytes)
        let digests = try await recorder.finish(isWhole: false, reading: MemoryDevice(length: 65_536 + 512))
        try await ContentModel(length: 65_536 + 512).expect(digests, isWhole: false)
    }

    /// 64 TiB of zeroes take no time and no memory.
    @Test func hugeZeroes() async throws {
        let recorder = ContentRecorder(virtualSize: 64 << 40, algorithm: .xxh3)
        recorder.recordZeroes(at: 0, length: 64 << 40)
        recorder.recordZeroes(at: 65_536, length: (3 << 20) - 65_536)
        let digests = try await recorder.finish(isWhole: false, reading: MemoryDevice(length: 0))
        #expect(digests.dataRangeCount == 0)
        #expect(try await digests.digests().heldUnits(ofRange: (64 << 20) - 1) == .max)
    }

    /// A write that fails is no content, and one that is tried again is.
    @Test func failedWrites() async throws {
        let target = FaultInjectingDevice(MemoryDevice(length: 1 << 20), faults: [.call(1, of: .write)])
        let recorder = ContentRecorder(virtualSize: 1 << 20, algorithm: .xxh3)
        let device = RecordingDevice(target, recorder)
        let (first, second) = ([UInt8](repeating: 1, count: 65_536), [UInt8](repeating: 2, count: 65_536))
        await #expect(throws: BlockError.self) { try await device.write(at: 0, from: first.span.bytes) }
        try await device.write(at: 0, from: second.span.bytes)
        let digests = try await recorder.finish(isWhole: false, reading: device)
        var model = ContentModel(length: 1 << 20)
        model.bytes.replaceSubrange(0..<65_536, with: second)
        model.hold(0..<65_536)
        try await model.expect(digests, isWhole: false)
    }

    /// What the kernel copies while somebody changes the source: whatever arrived, the digests are of that.
    @Test func changingSource() async throws {
        let old = [UInt8](repeating: 1, count: 2 << 20)
        let source = MemoryDevice(bytes: old)
        let target = FaultInjectingDevice(MemoryDevice(length: 2 << 20))
        let recorder = ContentRecorder(virtualSize: 2 << 20, algorithm: .xxh3)
        let device = RecordingDevice(target, recorder)
        let readCount = Locked(0)
        // Changes as soon as it is read once more than the copy itself takes.
        let watched = FaultInjectingDevice(source) { kind, _ in
            let isSecond = readCount.withLock { count in
                count += kind == .read ? 1 : 0
                return count == 2
            }
            if isSecond { source.fill([2], at: 70_000) }
        }
        do {
            _ = try await device.copyRange(from: StorageLocation(device: watched, offset: 0), to: 0, length: 2 << 20)
        } catch {
            // Where copying is refused, a job reads and writes.
            let now = try await watched.bytes(at: 0, count: 2 << 20)
            try await device.write(at: 0, from: now.span.bytes)
        }
        let digests = try await recorder.finish(isWhole: true, reading: device)
        var model = ContentModel(length: 2 << 20)
        model.bytes = try await target.bytes(at: 0, count: 2 << 20)
        try await model.expect(digests, isWhole: true)
    }

    /// What the kernel copied is looked at: where something else arrived, the copy is refused, and digests are of what is
    /// written instead.
    @Test func wrongCopies() async throws {
        let content = [UInt8](repeating: 1, count: 3 << 20)
        let source = MemoryDevice(bytes: content)
        let memory = MemoryDevice(length: 3 << 20)
        // Something arrives wrong as soon as the copy has been made.
        let target = FaultInjectingDevice(memory) { kind, range in
            if kind == .read, range.contains(2_500_000) { memory.fill([2], at: 2_500_000) }
        }
        let recorder = ContentRecorder(virtualSize: 3 << 20, algorithm: .xxh3)
        let device = RecordingDevice(target, recorder)
        await #expect(throws: BlockError.self) {
            try await device.copyRange(from: StorageLocation(device: source, offset: 0), to: 0, length: 3 << 20)
        }
        try await device.write(at: 0, from: content.span.bytes)
        let digests = try await recorder.finish(isWhole: true, reading: memory)
        var model = ContentModel(length: 3 << 20)
        model.bytes = content
        try await model.expect(digests, isWhole: true)
    }

    /// What the storage shares is read on one side: that of the source, unless others may change it meanwhile.
    @Test(arguments: [true, false]) func sharedBlocks(sourceIsSteady: Bool) async throws {
        let length: UInt64 = 3 << 20
        let content = [UInt8](repeating: 1, count: Int(length))
        let source = MemoryDevice(
            length: length, capabilities: DeviceCapabilities(isReadOnly: false, isSteady: sourceIsSteady))
        source.fill(content, at: 0)
        let target = MemoryDevice(length: length, sharesBlocks: true)
        let recorder = ContentRecorder(virtualSize: length, algorithm: .xxh3)
        let device = RecordingDevice(target, recorder)
        let before = source.counts[.read, default: 0]
        _ = try await device.copyRange(from: StorageLocation(device: source, offset: 0), to: 0, length: length)
        // The copy itself reads once.
        #expect(source.counts[.read, default: 0] - before == (sourceIsSteady ? 4 : 1))
        #expect(target.counts[.read, default: 0] == (sourceIsSteady ? 0 : 3))
        var model = ContentModel(length: Int(length))
        model.bytes = content
        try await model.expect(recorder.finish(isWhole: true, reading: target), isWhole: true)
    }

    /// Pieces that are written together are recorded as if one after the other, and of those that fail none.
    @Test(arguments: [nil, 2]) func pieces(failing: Int?) async throws {
        let unit = 65_536
        let memory = MemoryDevice(length: 4 << 20)
        let target = FaultInjectingDevice(memory, faults: failing.map { [.call($0, of: .write)] } ?? [])
        let recorder = ContentRecorder(virtualSize: 4 << 20, algorithm: .xxh3)
        let device = RecordingDevice(target, recorder)
        let pieces = (0..<4).map { TransferPiece(offset: UInt64($0 * 5 * unit), slice: $0 * unit..<($0 + 1) * unit) }
        let content = (0..<4).flatMap { [UInt8](repeating: UInt8($0 + 1), count: unit) }
        var model = ContentModel(length: 4 << 20)
        do throws(TransferError) {
            try await device.write(pieces, from: content.span.bytes)
            #expect(failing == nil)
        } catch {
            #expect(error.index == failing.map { $0 - 1 })
        }
        for piece in pieces.prefix(failing.map { $0 - 1 } ?? 4) {
            let place = Int(piece.offset)..<Int(piece.range.upperBound)
            model.bytes.replaceSubrange(place, with: content[piece.slice])
            model.hold(place)
        }
        try await model.expect(try await recorder.finish(isWhole: false, reading: device), isWhole: false)
    }
}
