// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage
import TestSupport
import Testing

@testable import BackupManifest

/// A layer that is not what it was is found, whatever has become of it; and one that is, is not suspected.
@Suite struct LayerProofTests {
    private func fault(
        _ chain: ProofChain, _ layer: Int, range: UInt64 = 0, isFilled: Bool = false
    ) async -> ContentFault? {
        var buffer = AlignedBuffer(count: Int(ContentGeometry.rangeLength))
        return await chain.proofs[layer].fault(inRange: range, &buffer, isFilled: isFilled)
    }

    private static func isDifference(_ fault: ContentFault?) -> Bool {
        if case .differs? = fault { true } else { false }
    }

    private static func isUnexpected(_ fault: ContentFault?) -> Bool {
        if case .unexpected? = fault { true } else { false }
    }

    @Test(arguments: [
        [512], [65_536], [3 << 20], [(1 << 20) + 512, (1 << 20) + 512], [2 << 20, 2 << 20, 2 << 20],
        // Grown and shrunk between two backups, also by less than a unit.
        [65_536, 1 << 20], [512, 1 << 20, 3 << 20], [3 << 20, 65_536 + 512], [(1 << 20) - 512, 1 << 20],
        [1 << 20, (1 << 20) - 512], [2 << 20, 70_144, 2 << 20],
    ])
    func intact(lengths: [Int]) async throws {
        for seed in 1...(isHeavyRun ? 50 : 2) as ClosedRange<UInt64> {
            var random = SeededRandom(seed: seed)
            let chain = try await ProofChain(lengths: lengths, &random)
            let found = await chain.firstFault()
            #expect(found == nil, "seed \(seed): \(String(describing: found))")
        }
    }

    /// All bits of all layers, in turn.
    @Test func everyBit() async throws {
        let length = isHeavyRun ? 4096 : 512
        var random = SeededRandom(seed: 1)
        // Each layer holds the only unit.
        let chain = try await ProofChain(lengths: [length, length, length], share: 10, &random)
        for layer in chain.layers.indices {
            let device = chain.layers[layer].device
            let before = device.snapshot
            for offset in 0..<UInt64(length) {
                for bit in 0..<8 {
                    device.flip(bit: bit, at: offset)
                    let fault = await fault(chain, layer)
                    #expect(Self.isDifference(fault), "layer \(layer), bit \(bit) of byte \(offset)")
                    // Those above hide it, and those below have nothing to do with it.
                    for other in chain.layers.indices where other != layer && offset % 128 == 0 {
                        let fault = await self.fault(chain, other)
                        #expect(fault == nil, "layer \(other), bit \(bit) of byte \(offset) of layer \(layer)")
                    }
                    device.flip(bit: bit, at: offset)
                }
            }
            #expect(device.snapshot == before)
        }
    }

    /// Bits all over larger disks: wherever the layer holds the unit it differs, and elsewhere it is unexpected.
    @Test(arguments: [[(1 << 20) + 70_144, (1 << 20) + 70_144], [600_064, 1_300_480, 900_096]])
    func someBits(lengths: [Int]) async throws {
        var random = SeededRandom(seed: 2)
        let chain = try await ProofChain(lengths: lengths, share: 5, &random)
        for _ in 0..<(isHeavyRun ? 20_000 : 150) {
            let layer = Int.random(in: chain.layers.indices, using: &random)
            let (device, model) = (chain.layers[layer].device, chain.layers[layer].model)
            let offset = Int.random(in: model.bytes.indices, using: &random)
            let bit = Int.random(in: 0..<8, using: &random)
            let unit = offset / ContentModel.unitLength
            let range = UInt64(offset / ContentModel.rangeLength)
            let isHeld = model.held.contains(unit)
            // In a unit that isn't held the layer now shows something of its own.
            let before = (device.snapshot, device.statuses.status(at: UInt64(offset)).status)
            device.fill([model.bytes[offset] ^ 1 << UInt8(bit)], at: UInt64(offset))
            let fault = await fault(chain, layer, range: range)
            #expect(
                isHeld ? Self.isDifference(fault) : Self.isUnexpected(fault),
                "layer \(layer), bit \(bit) of byte \(offset), held: \(isHeld)")
            device.fill(before.0.bytes(at: UInt64(offset), count: 1), at: UInt64(offset))
            device.setStatus(before.1, of: UInt64(offset)..<UInt64(offset) + 1)
            if before.1 == .data { #expect(device.snapshot == before.0) }
        }
        let left = await chain.firstFault()
        #expect(left == nil, "all is as it was again: \(String(describing: left))")
    }

    /// Where data was, the layer says zero, or lets the parent show through.
    @Test(arguments: [RangeStatus.zero, .unallocated], [false, true])
    func lostUnits(status: RangeStatus, isFilled: Bool) async throws {
        var random = SeededRandom(seed: 3)
        let chain = try await ProofChain(lengths: [1 << 20, 1 << 20], share: 6, &random)
        let (device, model) = (chain.layers[0].device, chain.layers[0].model)
        var count = 0
        for unit in model.held.sorted() {
            let range = model.bytes(ofUnit: unit)
            let bytes = UInt64(range.lowerBound)..<UInt64(range.upperBound)
            let (content, before) = (Array(model.bytes[range]), device.statuses.status(at: bytes.lowerBound).status)
            device.setStatus(status, of: bytes)
            let shown = try await device.bytes(at: bytes.lowerBound, count: range.count)
            let fault = await fault(chain, 0, isFilled: isFilled)
            #expect(Self.isDifference(fault) == (shown != content), "unit \(unit)")
            #expect((fault == nil) == (shown == content), "unit \(unit)")
            count += shown == content ? 0 : 1
            device.fill(content, at: bytes.lowerBound)
            device.setStatus(before, of: bytes)
        }
        #expect(count > 2)
    }

    /// A unit that the layer did not hold: what is the parent's content anyway is no matter, all else is.
    @Test func unitsThatCame() async throws {
        var random = SeededRandom(seed: 4)
        let chain = try await ProofChain(lengths: [700_416, 1 << 20], share: 5, &random)
        let (device, model) = (chain.layers[0].device, chain.layers[0].model)
        let others = Set(0..<model.unitCount).subtracting(model.held).sorted()
        #expect(others.count > 3)
        for unit in others {
            let range = model.bytes(ofUnit: unit)
            let start = UInt64(range.lowerBound)
            let content = Array(model.bytes[range])
            try await device.write(at: start, bytes: content)
            var fault = await fault(chain, 0)
            #expect(fault == nil, "unit \(unit) holds what the parent shows")
            // Also past the parent's end, which shows zeroes.
            for index in [0, content.count / 2, content.count - 1] {
                device.flip(bit: 3, at: start + UInt64(index))
                fault = await self.fault(chain, 0)
                #expect(Self.isUnexpected(fault), "unit \(unit), byte \(index)")
                device.flip(bit: 3, at: start + UInt64(index))
            }
            let isZero = content.allSatisfy { $0 == 0 }
            try await device.writeZeroes(at: start, length: UInt64(range.count))
            fault = await self.fault(chain, 0)
            #expect(Self.isUnexpected(fault) != isZero, "unit \(unit) says zero")
            device.setStatus(.unallocated, of: start..<UInt64(range.upperBound))
        }
    }

    /// What can't be read is not what differs.
    @Test(arguments: [RequestKind.read, .blockStatus]) func unreadable(kind: RequestKind) async throws {
        var model = ContentModel(length: 1 << 20)
        model.held = [3]
        model.bytes[3 * 65_536] = 1
        let device = FaultInjectingDevice(MemoryDevice(bytes: model.bytes), faults: [.calls(from: 1, of: kind)])
        let proof = LayerProof(device, digests: try await model.recorded(.xxh3, isWhole: false).digests())
        var buffer = AlignedBuffer(count: 1 << 20)
        guard case .unreadable(let error)? = await proof.fault(inRange: 0, &buffer) else {
            Issue.record("an error was expected")
            return
        }
        #expect(error.errno == .ioError)
    }

    /// Whole ranges that are zero are not read; and are, where the content is asked for.
    @Test func zeroesAreNotRead() async throws {
        let model = ContentModel(length: 4 << 20)
        let device = MemoryDevice(length: 4 << 20)
        let proof = LayerProof(device, digests: try await model.recorded(.sha256, isWhole: true).digests())
        var buffer = AlignedBuffer(count: 1 << 20)
        for range in 0..<4 as Range<UInt64> {
            let fault = await proof.fault(inRange: range, &buffer)
            #expect(fault == nil)
        }
        #expect(device.counts[.read, default: 0] == 0)
        var bytes = buffer.mutableBytes
        bytes.storeBytes(of: 1, toByteOffset: 5, as: UInt8.self)
        let fault = await proof.fault(inRange: 0, &buffer, isFilled: true)
        #expect(fault == nil)
        let isZero = buffer.bytes.isZero
        #expect(isZero)
    }
}
