// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps
import FormatTestSupport
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

/// A crash between any two writes of a change leaves an image without an error, whose disk is what it was, and whose
/// bitmaps are all as they were or all as they were to become. Where the header can't be changed in one sector, they may
/// also be no longer valid; never are they valid and something else.
@Suite struct BitmapCrashTests {
    static let kinds: [ImageCase] = {
        // Refcount tables that have to move, and refcount blocks that have to be made.
        var wide = ImageCase(clusterBits: 9)
        wide.refcountOrder = 6
        var narrow = ImageCase(clusterBits: 9)
        narrow.refcountOrder = 0
        narrow.backing = .shorter
        var usual = ImageCase(clusterBits: 16)
        usual.backing = .longer
        var extended = ImageCase(clusterBits: 14)
        extended.hasExtendedL2 = true
        extended.compressionType = .zstd
        extended.dataFile = .plain
        return [wide, narrow, usual, extended]
    }()

    struct Scenario: Sendable, CustomStringConvertible {
        let description: String
        /// Whether the bitmaps may be found invalid in between.
        var mayInvalidate = false
        let changes: @Sendable (UInt64) throws -> [BitmapChange]
    }

    private static func pattern(_ size: UInt64, granularity: UInt64, seed: UInt64) throws -> DirtyBitmap {
        var random = SeededRandom(seed: seed)
        var bits = try DirtyBitmap(length: size, granularity: granularity)
        for _ in 0..<30 { bits.set(random.range(below: size).clamped(to: 0..<size)) }
        for _ in 0..<30 { bits.reset(random.range(below: size)) }
        return bits
    }

    /// Each starts from an image with the bitmaps `one`, `two` and `lost`, the last one in use.
    static let scenarios: [Scenario] = [
        Scenario(description: "add") { _ in [.add(name: "new", granularity: 512, isRecording: true)] },
        Scenario(description: "remove") { _ in [.remove(name: "one")] },
        Scenario(description: "remove inconsistent") { _ in [.remove(name: "lost")] },
        Scenario(description: "remove all", mayInvalidate: true) { _ in
            [.remove(name: "one"), .remove(name: "two"), .remove(name: "lost")]
        },
        Scenario(description: "clear") { _ in [.clear(name: "one")] },
        // The first note of it makes the header longer.
        Scenario(description: "disable", mayInvalidate: true) { _ in [.setRecording(name: "one", false)] },
        Scenario(description: "enable", mayInvalidate: true) { _ in [.setRecording(name: "two", true)] },
        Scenario(description: "merge") { _ in [.merge(sources: ["one"], into: "two")] },
        Scenario(description: "mark") { _ in [.markInUse(name: "one")] },
        Scenario(description: "store") { size in [.store(try pattern(size, granularity: 512, seed: 9), as: "one")] },
        Scenario(description: "many") { size in
            [
                .remove(name: "lost"), .store(try pattern(size, granularity: 512, seed: 10), as: "one"),
                .add(name: "new", granularity: 1024, isRecording: false), .merge(sources: ["one"], into: "new"),
                .clear(name: "two"),
            ]
        },
    ]

    /// An image with data and bitmaps, and the disk's content.
    private static func original(_ kind: ImageCase) async throws -> (model: ImageModel, content: SparseBytes) {
        let model = try await ImageModel(kind)
        for _ in 0..<12 { try await model.step() }
        try await model.close()
        let bitmaps = try await Qcow2File(model.file).openBitmaps(forWriting: true)
        try await bitmaps.apply([
            .add(name: "one", granularity: 512, isRecording: true),
            .add(name: "two", granularity: 4096, isRecording: false),
            .add(name: "lost", granularity: 1024, isRecording: true),
            .store(try pattern(kind.size, granularity: 512, seed: 1), as: "one"),
            .store(try pattern(kind.size, granularity: 4096, seed: 2), as: "two"),
            .store(try pattern(kind.size, granularity: 1024, seed: 3), as: "lost"),
        ])
        try await bitmaps.apply([.markInUse(name: "lost")])
        try await bitmaps.close()
        return (model, (model.file as! MemoryDevice).snapshot)
    }

    private static func device(_ content: SparseBytes) -> MemoryDevice {
        let device = MemoryDevice(name: "image.qcow2", length: 0)
        device.restore(content)
        return device
    }

    @Test(arguments: kinds.indices, scenarios) func everyWrite(kind: Int, scenario: Scenario) async throws {
        let kind = Self.kinds[kind]
        let (model, original) = try await Self.original(kind)
        let before = try await BitmapState(readingFrom: Self.device(original))
        let recorder = FaultInjectingDevice(Self.device(original))
        recorder.startRecording(initial: original)
        let bitmaps = try await Qcow2File(recorder).openBitmaps(forWriting: true)
        try await bitmaps.apply(try scenario.changes(kind.size))
        try await bitmaps.close()
        let recording = try #require(recorder.recording)
        let after = try await BitmapState(bitmaps)
        #expect(before != after)
        #expect(try await BitmapState(readingFrom: recorder) == after)
        #expect(recording.requests.last?.isFlush == true || recording.requests.last == .resize(length: recorder.length))
        // The last write of the change itself is durable before clusters are given back.
        try await judgePrefixes(
            of: recording, kind: kind, model: model, between: [before, after], mayInvalidate: scenario.mayInvalidate,
            "\(kind) \(scenario)")
    }

    /// The first bitmap of an image: the header gets longer, and what follows moves.
    @Test(arguments: kinds.indices) func firstBitmap(kind: Int) async throws {
        let kind = Self.kinds[kind]
        let model = try await ImageModel(kind)
        for _ in 0..<12 { try await model.step() }
        try await model.close()
        let original = (model.file as! MemoryDevice).snapshot
        let recorder = FaultInjectingDevice(Self.device(original))
        recorder.startRecording(initial: original)
        let bitmaps = try await Qcow2File(recorder).openBitmaps(forWriting: true)
        try await bitmaps.apply([.add(name: "first", granularity: nil, isRecording: true)])
        try await bitmaps.close()
        try await judgePrefixes(
            of: try #require(recorder.recording), kind: kind, model: model,
            between: [BitmapState(), try await BitmapState(bitmaps)], mayInvalidate: true, "\(kind) first")
    }

    /// New bits fill the refcount table, which has to move meanwhile: its old place is not free before the header leads to
    /// the new one.
    @Test func refcountTableMoves() async throws {
        let file = MemoryDevice(name: "image.qcow2", length: 0)
        var options = Qcow2Options(size: 1 << 30)
        options.clusterBits = 9
        options.refcountOrder = 6
        try await Qcow2Image.create(options, in: file).close()
        var random = SeededRandom(seed: 5)
        var bits = try DirtyBitmap(length: 1 << 30, granularity: 512)
        let setUp = try await Qcow2File(file).openBitmaps(forWriting: true)
        // Little in each cluster of bits, so that comparing takes no time.
        let randomBits = { (random: inout SeededRandom) in
            (0..<512).flatMap { _ in
                random.bytes(count: 1).map { $0 | 1 } + [UInt8](repeating: 0, count: 511)
            }
        }
        // 520 clusters each; a table of one cluster leads to the refcounts of 4096.
        for index in 0..<6 {
            let bytes = randomBits(&random)
            bits.replaceBits(from: 0, with: bytes.span.bytes)
            try await setUp.apply([
                .add(name: "\(index)", granularity: 512, isRecording: true), .store(bits, as: "\(index)"),
            ])
        }
        try await setUp.close()
        let original = file.snapshot
        let before = try await BitmapState(readingFrom: file)

        let recorder = FaultInjectingDevice(file)
        recorder.startRecording(initial: original)
        let bitmaps = try await Qcow2File(recorder).openBitmaps(forWriting: true)
        let bytes = randomBits(&random)
        bits.replaceBits(from: 0, with: bytes.span.bytes)
        try await bitmaps.apply([
            .store(bits, as: "0"), .add(name: "new", granularity: 512, isRecording: true), .store(bits, as: "new"),
        ])
        try await bitmaps.close()
        let after = try await BitmapState(bitmaps)
        #expect(
            try await file.bytes(at: 48, count: 12) != original.bytes(at: 48, count: 12), "the refcount table has moved"
        )
        let recording = try #require(recorder.recording)
        for count in 0...recording.requests.count {
            for content in [
                recording.content(afterPrefix: count), recording.content(afterPrefix: count, losingSome: &random),
            ] {
                let check = ImageCheck(content.allBytes, allowsLeaks: true)
                #expect(check.problems.isEmpty, "after \(count) requests: \(check.problems.prefix(5))")
                let found = try await BitmapState(readingFrom: Self.device(content))
                #expect(found == before || found == after, "after \(count) requests")
            }
        }
        #expect(ImageCheck(file.snapshot.allBytes).problems.isEmpty)

        // Where there is no room for it, the change fails and everything is as it was.
        var number = 1
        while true {
            let memory = Self.device(original)
            let faulty = FaultInjectingDevice(memory, faults: [.calls(from: number, of: .write, with: .noSpace)])
            let bitmaps = try await Qcow2File(faulty).openBitmaps(forWriting: true)
            do {
                try await bitmaps.apply([.store(bits, as: "0"), .store(bits, as: "1"), .store(bits, as: "2")])
            } catch {
                #expect(error.errno == .noSpace)
            }
            faulty.setFaults([])
            try? await bitmaps.close()
            let check = ImageCheck(memory.snapshot.allBytes, allowsLeaks: true)
            #expect(check.problems.isEmpty, "write \(number): \(check.problems.prefix(5))")
            _ = try await BitmapState(readingFrom: memory)
            guard faulty.counts[.write, default: 0] >= number else { break }
            number += isHeavyRun ? 1 : 1 + number / 3
        }
    }

    private func judgePrefixes(
        of recording: Recording, kind: ImageCase, model: ImageModel, between states: [BitmapState],
        mayInvalidate: Bool, _ context: String
    ) async throws {
        var random = SeededRandom(seed: kind.seed &+ 1)
        for count in 0...recording.requests.count {
            var contents = [recording.content(afterPrefix: count)]
            contents.append(recording.contentKeepingLast(ofPrefix: count))
            for _ in 0..<3 { contents.append(recording.content(afterPrefix: count, losingSome: &random)) }
            for content in contents {
                let file = Self.device(content)
                let check = ImageCheck(content.allBytes, allowsLeaks: true)
                #expect(check.problems.isEmpty, "\(context) after \(count) requests: \(check.problems.prefix(5))")
                let found = try await BitmapState(readingFrom: file)
                #expect(
                    states.contains(found) || mayInvalidate && found.bitmaps.isEmpty,
                    "\(context) after \(count) requests: \(found)")
                let disk = try await Qcow2File(file).open(dataFile: model.dataFile, backing: model.backing)
                #expect(haveSameBytes(try await disk.bytes(at: 0, count: Int(kind.size)), model.expected))
                // Whoever comes next can go on.
                let next = try await Qcow2File(file).openBitmaps(forWriting: true)
                try await next.apply([.add(name: "next", granularity: nil, isRecording: true)])
            }
        }
        let done = recording.content(afterPrefix: recording.requests.count)
        #expect(ImageCheck(done.allBytes).problems.isEmpty, "\(context): nothing leaks where nothing crashed")
    }

    /// Whatever call to the file fails: the change fails as a whole, or has happened; the next one goes well, or is
    /// refused because nobody knows.
    @Test(arguments: kinds.indices, [RequestKind.read, .write, .flush, .resize])
    func everyCallFails(kind: Int, request: RequestKind) async throws {
        let kind = Self.kinds[kind]
        let (model, original) = try await Self.original(kind)
        let before = try await BitmapState(readingFrom: Self.device(original))
        let changes = { try Self.scenarios.last!.changes(kind.size) }
        let reference = try await Qcow2File(Self.device(original)).openBitmaps(forWriting: true)
        try await reference.apply(try changes())
        let after = try await BitmapState(reference)
        var number = 1
        while true {
            let memory = Self.device(original)
            let faulty = FaultInjectingDevice(memory, faults: [.call(number, of: request)])
            var failed = false
            do {
                let bitmaps = try await Qcow2File(faulty).openBitmaps(forWriting: true)
                do {
                    try await bitmaps.apply(try changes())
                } catch let error as BlockError {
                    failed = true
                    #expect(error.errno == .ioError)
                    if !bitmaps.isUncertain {
                        #expect(try await BitmapState(bitmaps) == before)
                        #expect(try await BitmapState(readingFrom: memory) == before)
                        try await bitmaps.apply(try changes())
                        #expect(try await BitmapState(bitmaps) == after)
                    } else {
                        await #expect(throws: BlockError.self) { try await bitmaps.apply([.remove(name: "one")]) }
                    }
                }
                try? await bitmaps.close()
            } catch let error as BlockError {
                #expect(error.errno == .ioError && !failed)
                #expect(memory.snapshot == original)
            }
            let found = try await BitmapState(readingFrom: memory)
            #expect(found == before || found == after, "\(kind) \(request) \(number): \(found)")
            let check = ImageCheck(memory.snapshot.allBytes, allowsLeaks: true)
            #expect(check.problems.isEmpty, "\(kind) \(request) \(number): \(check.problems.prefix(5))")
            let disk = try await Qcow2File(memory).open(dataFile: model.dataFile, backing: model.backing)
            #expect(haveSameBytes(try await disk.bytes(at: 0, count: Int(kind.size)), model.expected))
            guard faulty.counts[request, default: 0] >= number else { break }
            number += 1
        }
    }
}
