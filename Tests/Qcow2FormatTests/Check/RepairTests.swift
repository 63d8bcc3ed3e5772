// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import FormatTestSupport
import TestSupport
import Testing

@testable import Qcow2Format

/// A repair never makes what can be read worse, finds less wrong afterwards, and has nothing to do the second time.
@Suite(.timeLimit(.minutes(isHeavyRun ? 60 : 5))) struct RepairTests {
    static let kinds: [ImageCase] = {
        var small = ImageCase(clusterBits: 9)
        small.refcountOrder = 3
        var wide = ImageCase(clusterBits: 9)
        wide.refcountOrder = 6
        wide.backing = .longer
        var old = ImageCase(clusterBits: 10)
        old.version = 2
        var extended = ImageCase(clusterBits: 14)
        extended.hasExtendedL2 = true
        var data = ImageCase(clusterBits: 12)
        data.dataFile = .plain
        return [small, wide, old, extended, data]
    }()

    static func device(_ content: SparseBytes) -> MemoryDevice {
        let device = MemoryDevice(name: "image.qcow2", length: 0)
        device.restore(content)
        return device
    }

    @Test(arguments: kinds.indices, [RepairScope.leaks, .all]) func damage(kind: Int, scope: RepairScope) async throws {
        let model = try await ImageDamage.image(Self.kinds[kind])
        let original = (model.file as! MemoryDevice).snapshot.allBytes
        var random = SeededRandom(seed: UInt64(kind + 40))
        var repaired = 0
        for round in 0..<(isHeavyRun ? 2000 : 50) {
            var bytes = original
            ImageDamage.apply(to: &bytes, &random)
            let content = SparseBytes(bytes)
            let before = await ImageDamage.readable(content, dataFile: model.dataFile, backing: model.backing)
            let device = Self.device(content)
            var lines: [String] = []
            let outcome = try await Qcow2Check(device).repair(scope) { lines.append($0) }
            let after = await ImageDamage.readable(device.snapshot, dataFile: model.dataFile, backing: model.backing)
            #expect(ImageDamage.firstLoss(from: before, to: after) == nil, "round \(round): \(lines)")
            #expect(outcome.after.corruptions <= outcome.before.corruptions, "round \(round): \(lines)")
            if outcome.before.problems.isEmpty || scope == .leaks && outcome.before.leaks == 0 {
                let isMarked = outcome.before.counts[.marked] != nil
                #expect(isMarked || device.snapshot == content, "round \(round): nothing was to do")
            } else if !outcome.before.isClean {
                #expect(!lines.isEmpty, "round \(round)")
            }
            if outcome.after.isClean, !outcome.before.isClean { repaired += 1 }
            // What is left is left the second time too.
            let once = device.snapshot
            let again = try await Qcow2Check(device).repair(scope) { _ in }
            #expect(again.after.counts == outcome.after.counts, "round \(round): \(lines)")
            #expect(device.snapshot == once || !outcome.after.isClean)
        }
        #expect(repaired > (scope == .all ? 5 : -1))
    }

    /// An image that was not closed: all refcounts of its data are 0.
    @Test func staleRefcounts() async throws {
        let model = try await ImageDamage.image(ImageCase(clusterBits: 12))
        var bytes = (model.file as! MemoryDevice).snapshot.allBytes
        let table: UInt64 = try bytes.span.bytes.bigEndian(at: 48)
        let block: UInt64 = try bytes.span.bytes.bigEndian(at: Int(table))
        for index in 8..<200 { bytes[Int(block) + index] = 0 }
        bytes[79] |= 3
        let device = MemoryDevice(bytes: bytes)
        var lines: [String] = []
        let outcome = try await Qcow2Check(device).repair(.all) { lines.append($0) }
        #expect(outcome.after.isClean && outcome.after.problems.isEmpty, "\(outcome.after.problems)")
        #expect(outcome.corruptionsFixed == outcome.before.corruptions && outcome.before.corruptions > 10)
        #expect(lines.contains { $0.contains("raised") } && lines.contains { $0.contains("marks") })
        #expect(ImageCheck(device.snapshot.allBytes).problems.isEmpty)
        #expect(device.length == UInt64(bytes.count), "refcounts that have a place are set there")
    }

    /// Without any refcount structure.
    @Test(arguments: 0...6) func rebuild(order: Int) async throws {
        var kind = ImageCase(clusterBits: 9)
        kind.refcountOrder = order
        let model = try await ImageDamage.image(kind)
        let original = (model.file as! MemoryDevice).snapshot
        var bytes = original.allBytes
        let table: UInt64 = try bytes.span.bytes.bigEndian(at: 48)
        for index in 0..<64 { bytes[Int(table) + index] = index % 8 == 6 ? 3 : 0 }
        let device = MemoryDevice(bytes: bytes)
        // Small windows: refcount blocks are put together from several.
        let outcome = try await Qcow2Check(device, maximumWindow: 64).repair(.all) { _ in }
        // Compressed clusters share, and a refcount of one bit can't say so.
        if order > 1 {
            #expect(outcome.after.isClean, "\(outcome.after.problems.prefix(5))")
            #expect(ImageCheck(device.snapshot.allBytes).problems.isEmpty)
        }
        let before = await ImageDamage.readable(original)
        let after = await ImageDamage.readable(device.snapshot)
        #expect(!before.isEmpty && ImageDamage.firstLoss(from: before, to: after) == nil)
    }

    /// Whatever call fails: the repair says so, and the next one gets to the same end.
    @Test(arguments: [RequestKind.read, .write, .flush, .resize]) func everyCallFails(request: RequestKind) async throws
    {
        let model = try await ImageDamage.image(Self.kinds[0])
        var bytes = (model.file as! MemoryDevice).snapshot.allBytes
        let table: UInt64 = try bytes.span.bytes.bigEndian(at: 48)
        bytes[Int(table) + 7] ^= 1
        let content = SparseBytes(bytes)
        let before = await ImageDamage.readable(content)
        var number = 1
        while true {
            let device = Self.device(content)
            let faulty = FaultInjectingDevice(device, faults: [.call(number, of: request)])
            _ = try? await Qcow2Check(faulty).repair(.all) { _ in }
            let now = await ImageDamage.readable(device.snapshot)
            #expect(ImageDamage.firstLoss(from: before, to: now) == nil, "\(request) \(number)")
            let outcome = try await Qcow2Check(device).repair(.all) { _ in }
            #expect(outcome.after.isClean, "\(request) \(number): \(outcome.after.problems.prefix(5))")
            guard faulty.counts[request, default: 0] >= number else { break }
            number += isHeavyRun ? 1 : 1 + number / 4
        }
        #expect(number > 1 || request == .resize)
    }
}
