// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import FormatTestSupport
import TestSupport
import Testing

@testable import Qcow2Format

/// Healthy images have no problems; what is found doesn't depend on how many clusters are looked at together.
@Suite(.timeLimit(.minutes(isHeavyRun ? 60 : 5))) struct StructureCheckTests {
    private static let healthy = ImageCase.crossProduct(orders: { isHeavyRun ? Array(0...6) : [$0 % 7] })
        .filter { $0.clusterBits <= 16 || isHeavyRun }

    @Test(arguments: healthy.indices) func healthyImagesAreClean(index: Int) async throws {
        let kind = Self.healthy[index]
        let model = try await ImageModel(kind)
        for _ in 0..<20 { try await model.step() }
        try await model.close()
        let report = try await Qcow2Check(model.file).run()
        #expect(report.isClean && report.problems.isEmpty, "\(kind): \(report.problems)")
        let cluster = UInt64(1) << UInt64(kind.clusterBits)
        #expect(report.totalClusters == (kind.size + cluster - 1) / cluster)
        let end = (model.file.length + cluster - 1) / cluster * cluster
        #expect(report.imageEndOffset > 0 && report.imageEndOffset <= end)
        #expect(report.compressedClusters <= report.fragmentedClusters)
        #expect(report.fragmentedClusters <= report.allocatedClusters)
        #expect(report.allocatedClusters <= report.totalClusters)
    }

    static let damaged: [ImageCase] = {
        var small = ImageCase(clusterBits: 9)
        small.refcountOrder = 2
        var wide = ImageCase(clusterBits: 9)
        wide.refcountOrder = 6
        var old = ImageCase(clusterBits: 10)
        old.version = 2
        return [small, wide, old]
    }()

    @Test(arguments: damaged.indices) func windowsFindTheSame(index: Int) async throws {
        let kind = Self.damaged[index]
        let original = (try await ImageDamage.image(kind).file as! MemoryDevice).snapshot.allBytes
        var random = SeededRandom(seed: UInt64(index))
        var wrong = 0
        for _ in 0..<(isHeavyRun ? 2000 : 60) {
            var bytes = original
            ImageDamage.apply(to: &bytes, &random)
            let whole = try await Qcow2Check(MemoryDevice(bytes: bytes)).run()
            let parts = try await Qcow2Check(MemoryDevice(bytes: bytes), maximumWindow: 64).run()
            #expect(whole.counts == parts.counts)
            #expect(whole.corruptions == parts.corruptions && whole.leaks == parts.leaks)
            #expect(whole.checkErrors == parts.checkErrors && whole.imageEndOffset == parts.imageEndOffset)
            #expect(whole.allocatedClusters == parts.allocatedClusters)
            #expect(whole.fragmentedClusters == parts.fragmentedClusters)
            wrong += whole.isClean ? 0 : 1
        }
        #expect(wrong > 20)
    }

    /// A cluster with more references than a byte counts.
    @Test func manyReferences() async throws {
        var kind = ImageCase(clusterBits: 9)
        kind.sizeOverride = 400 << 9
        let model = try await ImageModel(kind)
        try await model.write(0..<400 << 9)
        try await model.close()
        var bytes = (model.file as! MemoryDevice).snapshot.allBytes
        let word = { (offset: UInt64) -> UInt64 in (try? bytes.span.bytes.bigEndian(at: Int(offset))) ?? 0 }
        let l1 = word(40)
        let tables = (0..<UInt64(7)).map { word(l1 + $0 * 8) & ~(1 << 63) }
        let shared = word(tables[0]) & ~(1 << 63)
        let block = word(word(48))
        for table in tables {
            for index in 0..<UInt64(64) where table + index * 8 < UInt64(bytes.count) {
                let entry: UInt64 = (try? bytes.span.bytes.bigEndian(at: Int(table + index * 8))) ?? 0
                if entry != 0 { bytes.storeBigEndian(shared, at: Int(table + index * 8)) }
            }
        }
        let place = Int(block + shared >> 9 * 2)
        for (refcount, isRight) in [(UInt16(400), true), (399, false), (401, false), (255, false)] {
            bytes.storeBigEndian(refcount, at: place)
            let report = try await Qcow2Check(MemoryDevice(bytes: bytes)).run()
            #expect(report.corruptions == (refcount < 400 ? 1 : 0))
            #expect(report.leaks == 399 + (refcount > 400 ? 1 : 0))
            #expect(report.problems.contains { $0.reason == "refcount \(refcount), 400 references" } != isRight)
            // One line for all that leak in a row.
            #expect(report.problems.count < 40)
        }
    }

    /// More clusters with many references than are kept aside: the window shrinks until they fit.
    @Test func tooManyExceptions() {
        var window = ReferenceWindow(capacity: 1 << 18)
        window.reset(to: 100..<100 + 1 << 18)
        for index in 0..<(1 << 17) + 1 { window.add(1000, at: index) }
        #expect(window.isOverfull)
        #expect(window[0] == 1000 && window[(1 << 17) - 1] == 1000)
        window.reset(to: 0..<64)
        #expect(!window.isOverfull && window[0] == 0)
        window.add(254, at: 1)
        #expect(window[1] == 254)
        window.add(1, at: 1)
        window.add(.max, at: 1)
        #expect(window[1] == .max)
    }

    @Test func linesSayWhatWhereAndWhy() async throws {
        let kind = ImageCase(clusterBits: 12)
        var bytes = (try await ImageDamage.image(kind, steps: 0).file as! MemoryDevice).snapshot.allBytes
        let l1: UInt64 = try bytes.span.bytes.bigEndian(at: 40)
        let entry: UInt64 = try bytes.span.bytes.bigEndian(at: Int(l1))
        let table = Int(entry & ~(1 << 63))
        bytes.storeBigEndian(0x8000_0100_0000_0000 as UInt64, at: table + 8)
        let report = try await Qcow2Check(MemoryDevice(bytes: bytes)).run()
        let line = "data cluster at offset 1099511627776, guest offset 4096: it reaches past the end of the file "
        #expect(report.problems.contains { $0.description == line + "(\(bytes.count) bytes)" }, "\(report.problems)")
        // As others count: the place, and the flag of a cluster that has no refcount; its old cluster leaks.
        #expect(report.corruptions == 2 && report.leaks == 1)
    }
}
