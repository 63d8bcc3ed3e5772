// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import DirtyBitmaps
import FormatTestSupport
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

/// Damaged and malicious images end in data or in an error, soon, and never in a trap.
@Suite(.timeLimit(.minutes(isHeavyRun ? 60 : 10))) struct HostileImageTests {
    /// A small image with everything in it, closed.
    private static func image(_ kind: ImageCase) async throws -> [UInt8] {
        let model = try await ImageModel(kind)
        let cluster = UInt64(1) << UInt64(kind.clusterBits)
        let clusters = kind.size / cluster
        try await model.write(cluster / 2..<min(20, clusters) * cluster)
        try await model.zero(cluster * 2..<cluster * min(5, clusters))
        try await model.compress(cluster..<cluster * min(2, clusters))
        if clusters > 100 { try await model.compress(cluster * 90..<cluster * 95) }
        try await model.image.close()
        return (model.file as! MemoryDevice).snapshot.allBytes
    }

    static let kinds: [ImageCase] = {
        var small = ImageCase(clusterBits: 9)
        small.refcountOrder = 3
        var old = ImageCase(clusterBits: 10)
        old.version = 2
        var extended = ImageCase(clusterBits: 14)
        extended.hasExtendedL2 = true
        extended.compressionType = .zstd
        return [small, old, extended]
    }()

    private static let extremes: [UInt64] = [
        0, 1, 2, 511, 512, 513, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 56, 1 << 62, 1 << 63, (1 << 63) - 512,
        .max, .max - 1, .max - 511, 0x8000_0000_0000_0200, 0x8000_0000_0000_0000, 0x4000_0000_0000_0000,
        0x7fff_ffff_ffff_ffff, 0xffff_ffff_ffff_fe00, 0x00ff_ffff_ffff_fe00,
    ]

    /// Changes one place, preferably where tables are.
    private static func mutate(_ bytes: inout [UInt8], _ random: inout SeededRandom) {
        let cluster = 1 << Int(bytes[23] % 32)
        let word = { (bytes: [UInt8], offset: Int) -> Int in
            let value: UInt64 = (try? bytes.span.bytes.bigEndian(at: offset)) ?? 0
            return Int(value & 0x00ff_ffff_ffff_fe00) % max(bytes.count, 1)
        }
        let l1 = word(bytes, 40)
        let table = word(bytes, 48)
        let start: Int
        switch Int.random(in: 0..<8, using: &random) {
        case 0, 1: start = Int.random(in: 0..<28, using: &random) * 4
        case 2: start = Int.random(in: 104..<max(min(cluster, 512), 105), using: &random)
        case 3: start = l1 + Int.random(in: 0..<8, using: &random) * 8
        case 4: start = word(bytes, l1) + Int.random(in: 0..<max(min(cluster, 1024) / 8, 1), using: &random) * 8
        case 5: start = table + Int.random(in: 0..<4, using: &random) * 8
        case 6: start = word(bytes, table) + Int.random(in: 0..<64, using: &random)
        default: start = Int.random(in: 0..<bytes.count, using: &random)
        }
        guard start < bytes.count else { return }
        if Bool.random(using: &random) {
            bytes[start] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            return
        }
        let width = Bool.random(using: &random) ? 8 : 4
        guard start + width <= bytes.count else { return }
        var value = extremes.randomElement(using: &random)!
        if Int.random(in: 0..<3, using: &random) == 0 {
            value = UInt64.random(in: 0..<UInt64(bytes.count), using: &random) & ~511 | value & (3 << 62)
        }
        if width == 8 {
            bytes.storeBigEndian(value, at: start)
        } else {
            bytes.storeBigEndian(UInt32(truncatingIfNeeded: value), at: start)
        }
    }

    /// Does with an image all that can be done with it. Errors are fine.
    static func exercise(_ bytes: [UInt8], _ random: inout SeededRandom) async {
        await read(bytes, snapshot: nil)
        await read(bytes, snapshot: "1")
        await exerciseBitmaps(bytes, &random)
        do throws(BlockError) {
            let device = MemoryDevice(bytes: bytes)
            let data = MemoryDevice(length: 1 << 20)
            let file = try await Qcow2File(device)
            let image = try await file.open(
                dataFile: file.references.hasExternalDataFile ? data : nil, forWriting: true)
            for _ in 0..<6 {
                let range = random.range(below: max(min(image.length, 1 << 20), 1))
                let content = ImageModel.noise(count: range.count, from: 5)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: try await image.write(at: range.lowerBound, bytes: content)
                case 1: try await image.writeZeroes(at: range.lowerBound, length: UInt64(range.count))
                default:
                    let size = try await image.clusterSize()
                    try await image.writeCompressed(
                        at: 0, from: ImageModel.noise(count: Int(min(size, image.length)), from: 7).span.bytes)
                }
            }
            try await image.close()
        } catch {
            _ = "\(error)"
        }
    }

    /// Reads all bitmaps, and changes them in all ways.
    private static func exerciseBitmaps(_ bytes: [UInt8], _ random: inout SeededRandom) async {
        do throws(BlockError) {
            let bitmaps = try await Qcow2File(MemoryDevice(bytes: bytes)).openBitmaps()
            for bitmap in bitmaps.list { _ = try? await bitmaps.load(bitmap.name).dirtyLength }
        } catch {
            _ = "\(error) \(error.errno)"
        }
        let device = MemoryDevice(bytes: bytes)
        do throws(BlockError) {
            let bitmaps = try await Qcow2File(device).openBitmaps(forWriting: true)
            let names = bitmaps.list.map(\.name) + ["none"]
            for _ in 0..<4 {
                let name = names.randomElement(using: &random)!
                let change: BitmapChange =
                    switch Int.random(in: 0..<6, using: &random) {
                    case 0: .add(name: "new", granularity: nil, isRecording: true)
                    case 1: .remove(name: name)
                    case 2: .clear(name: name)
                    case 3: .setRecording(name: name, false)
                    case 4: .markInUse(name: name)
                    default: .merge(sources: [names.randomElement(using: &random)!], into: name)
                    }
                // What is refused changes nothing; what isn't can be read back.
                try? await bitmaps.apply([change])
            }
            let after = bitmaps.list
            try await bitmaps.close()
            if !bitmaps.isUncertain {
                #expect(try! await Qcow2File(device).openBitmaps().list == after)
            }
        } catch {
            _ = "\(error) \(error.errno)"
        }
    }

    private static func read(_ bytes: [UInt8], snapshot: String?) async {
        do throws(BlockError) {
            let device = MemoryDevice(bytes: bytes)
            let file = try await Qcow2File(device)
            _ = "\(file.references) \(file.warnings)"
            let data = MemoryDevice(length: 1 << 20)
            let image = try await file.open(
                snapshot: snapshot, dataFile: file.references.hasExternalDataFile ? data : nil)
            // The start, the end and a few places between.
            let step = max(image.length / 7, 1)
            for start in stride(from: 0, to: image.length, by: Int(step)) {
                let count = min(image.length - start, step, 1 << 18)
                _ = try? await image.bytes(at: start, count: Int(count))
                _ = try? await image.blockStatus(at: start, length: image.length - start, in: .chain)
            }
            var position: UInt64 = 0
            for _ in 0..<3000 where position < image.length {
                position += try await image.blockStatus(at: position, length: image.length - position, in: .chain)
                    .length
            }
        } catch {
            // Every error can be told.
            _ = "\(error) \(error.errno)"
        }
    }

    @Test(arguments: kinds.indices, 0..<4) func mutations(kind: Int, round: Int) async throws {
        let original = try await Self.image(Self.kinds[kind])
        var random = SeededRandom(seed: UInt64(kind * 100 + round))
        for _ in 0..<(isHeavyRun ? 1_000 : 60) {
            var bytes = original
            for _ in 0..<Int.random(in: 1...4, using: &random) { Self.mutate(&bytes, &random) }
            await Self.exercise(bytes, &random)
        }
    }

    @Test(arguments: kinds.indices) func truncations(kind: Int) async throws {
        let original = try await Self.image(Self.kinds[kind])
        var random = SeededRandom(seed: UInt64(kind))
        var count = 0
        while count < original.count {
            await Self.exercise(Array(original.prefix(count)), &random)
            count += isHeavyRun ? 61 : count < 200 ? 1 : 509
        }
    }

    /// Images with snapshots, data files, bitmaps and whatever else the fixtures have.
    @Test func mutatedFixtures() async throws {
        var random = SeededRandom(seed: 9)
        let fixtures = try Fixture.all().filter { $0.facts.format == .qcow2 }
        #expect(!fixtures.isEmpty)
        for fixture in fixtures {
            let directory = try TemporaryDirectory()
            let path = try fixture.copyIntoPlace(directory)
            let original = try directory.read(path.lastComponent!.string)
            guard original.count < 2 << 20 else { continue }
            await Self.exercise(original, &random)
            guard original.count > 512 else { continue }
            for _ in 0..<(isHeavyRun ? 40 : 3) {
                var bytes = original
                for _ in 0..<Int.random(in: 1...4, using: &random) { Self.mutate(&bytes, &random) }
                await Self.exercise(bytes, &random)
            }
        }
    }
}
