// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage
import TestSupport
import Testing

@testable import BackupManifest

/// Whatever comes out of a disk that is proven while it is read is what was backed up, or else an error comes.
@Suite struct VerifyingDeviceTests {
    private static let shapes: [[Int]] = [
        [512], [(2 << 20) + 512], [1 << 20, 1 << 20], [2 << 20, 2 << 20, 2 << 20],
        // Grown and shrunk between two backups.
        [65_536, 2 << 20], [3 << 20, 70_144], [2 << 20, 1 << 20, 2 << 20], [2 << 20, 70_144, 2 << 20],
        [3 << 20, (1 << 20) + 512, (2 << 20) + 512], [2 << 20, (1 << 20) - 512, 1 << 20], [512, 1024, 512, 3 << 20],
    ]

    /// Reads all, in pieces of any length and order, as a job would: what is known to be zero isn't read.
    private func contents(of device: VerifyingDevice, _ random: inout SeededRandom) async throws -> [UInt8] {
        var content = [UInt8](repeating: 0, count: Int(device.length))
        var pieces: [Range<UInt64>] = []
        var position: UInt64 = 0
        while position < device.length {
            let end = min(position + UInt64(random.pick([512, 65_536, 300_032, 1 << 20, 2 << 20])), device.length)
            pieces.append(position..<end)
            position = end
        }
        let asksStatus = Bool.random(using: &random)
        for piece in pieces.shuffled(using: &random) {
            var position = piece.lowerBound
            while position < piece.upperBound {
                var count = piece.upperBound - position
                var isZero = false
                if asksStatus {
                    let extent = try await device.blockStatus(at: position, length: count, in: .chain)
                    #expect(extent.location == nil)
                    (count, isZero) = (extent.length, extent.readsAsZero)
                }
                if !isZero {
                    let bytes = try await device.bytes(at: position, count: Int(count))
                    content.replaceSubrange(Int(position)..<Int(position + count), with: bytes)
                }
                position += count
            }
        }
        return content
    }

    @Test(arguments: shapes) func intact(lengths: [Int]) async throws {
        for seed in 1...(isHeavyRun ? 200 : 2) as ClosedRange<UInt64> {
            var random = SeededRandom(seed: seed)
            let chain = try await ProofChain(lengths: lengths, share: random.pick([0, 1, 4, 8]), &random)
            let content = try await contents(of: chain.verifying, &random)
            let isSame = haveSameBytes(content, chain.content)
            #expect(isSame, "seed \(seed)")
        }
    }

    /// One thing or another goes wrong in one layer or another.
    @Test(arguments: shapes) func damaged(lengths: [Int]) async throws {
        var refusals = 0
        let rounds = isHeavyRun ? 400 : 4
        for seed in 1...UInt64(rounds) {
            var random = SeededRandom(seed: seed &* 31)
            let chain = try await ProofChain(lengths: lengths, share: random.pick([1, 4, 8]), &random)
            let device = random.pick(chain.layers).device
            let range = random.range(below: device.length, alignment: random.pick([1, 512, 65_536]))
            switch Int.random(in: 0..<4, using: &random) {
            case 0: device.flip(bit: Int.random(in: 0..<8, using: &random), at: range.lowerBound)
            case 1: device.setStatus(.zero, of: range)
            case 2: device.setStatus(.unallocated, of: range)
            default: device.fill(random.bytes(count: range.count), at: range.lowerBound)
            }
            do {
                let content = try await contents(of: chain.verifying, &random)
                let isSame = haveSameBytes(content, chain.content)
                #expect(isSame, "seed \(seed), \(device.name), \(range)")
            } catch BlockError.layer(let error) {
                let error = try #require(error as? ContentError)
                #expect(error.errno == .ioError)
                #expect(error.description.hasPrefix("layer "))
                refusals += 1
            }
        }
        #expect(refusals > 0)
    }

    /// A range that the top layer holds needn't be right below.
    @Test func hidden() async throws {
        var random = SeededRandom(seed: 1)
        let chain = try await ProofChain(lengths: [2 << 20, 2 << 20], share: 10, &random)
        let base = chain.layers[1].device
        for offset in stride(from: UInt64(0), to: 2 << 20, by: 4096) { base.flip(bit: 0, at: offset) }
        let content = try await contents(of: chain.verifying, &random)
        let isSame = haveSameBytes(content, chain.content)
        #expect(isSame)
        // The one below itself is no good.
        let alone = VerifyingDevice(base, layers: [chain.proofs[1]])
        await #expect(throws: BlockError.self) { _ = try await alone.bytes(at: 0, count: 1) }
    }

    /// All bits of both layers of a disk, in turn, in whatever unit they are.
    @Test func everyBit() async throws {
        var random = SeededRandom(seed: 2)
        let chain = try await ProofChain(lengths: [512, 512], share: 0, &random)
        #expect(chain.content.contains { $0 != 0 })
        for layer in chain.layers.indices {
            for offset in 0..<512 as Range<UInt64> {
                for bit in 0..<8 {
                    let device = chain.layers[layer].device
                    device.fill([chain.content[Int(offset)] ^ 1 << UInt8(bit)], at: offset)
                    await #expect(throws: BlockError.self) {
                        _ = try await chain.verifying.bytes(at: 511 - offset, count: 1)
                    }
                    device.fill([chain.content[Int(offset)]], at: offset)
                    if layer == 0 { device.setStatus(.unallocated, of: offset..<offset + 1) }
                }
            }
        }
    }

    /// What is said to be zero, and was not.
    @Test(arguments: [BlockStatusScope.topLayer, .chain]) func zeroClaims(scope: BlockStatusScope) async throws {
        var model = ContentModel(length: 8 << 20)
        for offset in [0, 3 << 20, (8 << 20) - 1] { model.bytes[offset] = 1 }
        let digests = try await model.recorded(.sha256, isWhole: true).digests()
        let blank = MemoryDevice(length: 8 << 20)
        let device = VerifyingDevice(blank, layers: [LayerProof(blank, digests: digests)])
        for (range, isRight) in [(0, false), (1, true), (2, true), (3, false), (4, true), (6, true), (7, false)] {
            let (start, length) = (UInt64(range) << 20, UInt64(1 << 20))
            if isRight {
                let extent = try await device.blockStatus(at: start + 512, length: length - 1024, in: scope)
                #expect(extent.readsAsZero)
            } else {
                await #expect(throws: BlockError.self, "range \(range)") {
                    _ = try await device.blockStatus(at: start + 512, length: length - 1024, in: scope)
                }
            }
        }
        await #expect(throws: BlockError.self) {
            _ = try await device.blockStatus(at: 1 << 20, length: 3 << 20, in: scope)
        }
    }

    /// Where nothing is known of a layer, what shows through it is as it is.
    @Test func withoutDigests() async throws {
        var random = SeededRandom(seed: 3)
        let chain = try await ProofChain(lengths: [1 << 20, 1 << 20, 1 << 20], share: 3, &random)
        let proofs: [LayerProof?] = [chain.proofs[0], nil, chain.proofs[2]]
        let device = VerifyingDevice(chain.disk, layers: proofs)
        let isSame = haveSameBytes(try await device.bytes(at: 0, count: 1 << 20), chain.content)
        #expect(isSame)
        let model = chain.layers[0].model
        let other = try #require((0..<16).first { !model.held.contains($0) })
        chain.layers[2].device.flip(bit: 1, at: UInt64(other) * 65_536)
        chain.layers[1].device.flip(bit: 1, at: UInt64(other) * 65_536 + 1)
        let unproven = VerifyingDevice(chain.disk, layers: proofs)
        _ = try await unproven.bytes(at: 0, count: 1 << 20)
        chain.disk.flip(bit: 1, at: UInt64(try #require(model.held.first)) * 65_536)
        let damaged = VerifyingDevice(chain.disk, layers: proofs)
        await #expect(throws: BlockError.self) { _ = try await damaged.bytes(at: 0, count: 1 << 20) }
    }

    /// The error of the disk itself stays what it is, and is not held against the next read.
    @Test func readErrors() async throws {
        var random = SeededRandom(seed: 4)
        let chain = try await ProofChain(lengths: [1 << 20], &random)
        let faulty = FaultInjectingDevice(chain.disk, faults: [.call(1, of: .read)])
        let device = VerifyingDevice(faulty, layers: [LayerProof(faulty, digests: chain.layers[0].digests)])
        await #expect(throws: BlockError.self) { _ = try await device.bytes(at: 0, count: 512) }
        #expect(try await device.bytes(at: 0, count: 512) == Array(chain.content.prefix(512)))
        await #expect(throws: BlockError.self) { _ = try await device.bytes(at: (1 << 20) - 1, count: 2) }
        await #expect(throws: BlockError.self) { _ = try await device.bytes(at: .max, count: 1) }
        #expect(try await device.bytes(at: 1 << 20, count: 0) == [])
    }

    /// A range is read in pieces, and the storage answers differently in between: what comes is still what was proven.
    @Test(arguments: [[1 << 20], [1 << 20, 1 << 20, 1 << 20], [1 << 20, 70_144, 1 << 20]])
    func pieces(lengths: [Int]) async throws {
        var random = SeededRandom(seed: 6)
        let chain = try await ProofChain(lengths: lengths, share: 5, &random)
        let device = chain.verifying
        let expected = chain.content
        let first = try await device.bytes(at: 0, count: 4096)
        #expect(first == Array(expected.prefix(4096)))
        for layer in chain.layers {
            for offset in stride(from: UInt64(0), to: layer.device.length, by: 512) {
                layer.device.flip(bit: 3, at: offset)
            }
        }
        let rest = try await device.bytes(at: 4096, count: expected.count - 4096)
        let isSame = haveSameBytes(rest, Array(expected.dropFirst(4096)))
        #expect(isSame)
        // Nothing of it is kept any longer.
        await #expect(throws: BlockError.self) { _ = try await device.bytes(at: 0, count: 4096) }
    }

    /// Many threads at once, each range proven once or more.
    @Test func threads() async throws {
        var random = SeededRandom(seed: 5)
        let chain = try await ProofChain(lengths: [4 << 20, 4 << 20], share: 5, &random)
        let device = chain.verifying
        let content = chain.content
        let workers = WorkerThreads(count: 4)
        defer { workers.stop() }
        await withTaskGroup { group in
            for worker in 0..<8 {
                group.addTask(executorPreference: workers) {
                    var random = SeededRandom(seed: UInt64(worker))
                    for _ in 0..<40 {
                        let range = random.range(below: 4 << 20, alignment: 512)
                        let bytes = try? await device.bytes(at: range.lowerBound, count: min(range.count, 200_000))
                        let start = Int(range.lowerBound)
                        let expected = Array(content[start..<start + min(range.count, 200_000)])
                        let isSame = bytes.map { haveSameBytes($0, expected) }
                        #expect(isSame == true)
                    }
                }
            }
        }
    }
}
