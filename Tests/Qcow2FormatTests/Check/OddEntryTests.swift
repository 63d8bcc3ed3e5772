// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import FormatTestSupport
import TestSupport
import Testing

@testable import Qcow2Format

/// Entries that break a rule: what is harmless is read, everything else is found by a check and mended by a repair, which
/// leaves all other content as it was.
@Suite struct OddEntryTests {
    /// A closed image of two L2 tables with a cluster of data in each of its first clusters, and where things are in it.
    private struct Sample {
        var bytes: [UInt8]
        let clusterBits: Int
        let words: Int
        let dataFile: MemoryDevice?
        let backing: (any BlockDevice)?
        let expected: [UInt8]

        init(_ kind: ImageCase) async throws {
            var kind = kind
            let tables = UInt64(1) << UInt64(2 * kind.clusterBits - (kind.hasExtendedL2 ? 4 : 3))
            kind.sizeOverride = kind.sizeOverride ?? min(tables * 2, 1 << 22)
            let model = try await ImageModel(kind)
            try await model.write(0..<UInt64(6) << UInt64(kind.clusterBits))
            if tables < kind.size { try await model.write(tables..<tables + 4096) }
            try await model.close()
            bytes = (model.file as! MemoryDevice).snapshot.allBytes
            clusterBits = kind.clusterBits
            words = kind.hasExtendedL2 ? 2 : 1
            dataFile = model.dataFile
            backing = model.backing
            expected = model.expected
        }

        func word(_ offset: Int) -> UInt64 { (try? bytes.span.bytes.bigEndian(at: offset)) ?? 0 }

        mutating func set(_ value: UInt64, at offset: Int) { bytes.storeBigEndian(value, at: offset) }

        var l1: Int { Int(word(40)) }

        /// Offset of an L2 table.
        func table(_ index: Int) -> Int { Int(word(l1 + index * 8) & 0x00ff_ffff_ffff_fe00) }

        /// Where the entry of a cluster of the first table is.
        func entry(_ cluster: Int) -> Int { table(0) + cluster * words * 8 }

        mutating func setRefcount(_ value: UInt16, ofClusterAt offset: Int) {
            let block = Int(word(Int(word(48))))
            bytes.storeBigEndian(value, at: block + offset >> clusterBits * 2)
        }

        var device: MemoryDevice { RepairTests.device(SparseBytes(bytes)) }

        func open(_ device: MemoryDevice) async throws(BlockError) -> Qcow2Image {
            try await Qcow2File(device).open(dataFile: dataFile, backing: backing)
        }

        /// Repairs, and reads all of it.
        func repaired() async throws -> (before: CheckReport, content: [UInt8]) {
            let device = device
            let outcome = try await Qcow2Check(device).repair(.all) { _ in }
            #expect(outcome.after.isClean && outcome.after.problems.isEmpty, "\(outcome.after.problems)")
            let image = try await open(device)
            return (outcome.before, try await image.bytes(at: 0, count: Int(image.length)))
        }
    }

    private func zeroed(_ content: [UInt8], cluster: Int, bits: Int) -> [UInt8] {
        var content = content
        content.replaceSubrange(cluster << bits..<(cluster + 1) << bits, with: repeatElement(0, count: 1 << bits))
        return content
    }

    @Test(arguments: [ImageCase.Backing.none, .longer]) func copiedFlagWithoutCluster(backing: ImageCase.Backing)
        async throws
    {
        var kind = ImageCase(clusterBits: 12)
        kind.backing = backing
        var sample = try await Sample(kind)
        sample.set(1 << 63, at: sample.entry(9))
        let report = try await Qcow2Check(sample.device).run()
        #expect(report.isClean && report.counts[.l2ReservedBits] == 1)
        let image = try await sample.open(sample.device)
        #expect(try await image.bytes(at: 0, count: Int(image.length)) == sample.expected)
        #expect(try await sample.repaired().content == sample.expected)
    }

    @Test func zeroFlagOfExtendedEntries() async throws {
        var kind = ImageCase(clusterBits: 14)
        kind.hasExtendedL2 = true
        var sample = try await Sample(kind)
        for cluster in [2, 20] { sample.set(sample.word(sample.entry(cluster)) | 1, at: sample.entry(cluster)) }
        let report = try await Qcow2Check(sample.device).run()
        #expect(report.isClean && report.counts[.l2ReservedBits] == 2)
        let image = try await sample.open(sample.device)
        #expect(try await image.bytes(at: 0, count: Int(image.length)) == sample.expected)
        #expect(try await sample.repaired().content == sample.expected)
    }

    /// QEMU refuses to read them.
    @Test func zeroFlagInVersion2() async throws {
        var kind = ImageCase(clusterBits: 12)
        kind.version = 2
        var sample = try await Sample(kind)
        for cluster in [2, 20] { sample.set(sample.word(sample.entry(cluster)) | 1, at: sample.entry(cluster)) }
        let (before, content) = try await sample.repaired()
        #expect(before.corruptions == 2 && before.counts[.zeroFlag] == 2)
        #expect(content == sample.expected)
    }

    /// A cluster of a data file can only lie where the guest has it. QEMU refuses to read others.
    @Test func misplacedInDataFile() async throws {
        var kind = ImageCase(clusterBits: 12)
        kind.dataFile = .plain
        var sample = try await Sample(kind)
        sample.set(sample.word(sample.entry(3)), at: sample.entry(2))
        sample.set(1 << 63, at: sample.entry(4))
        let image = try await sample.open(sample.device)
        await #expect(throws: BlockError.self) { try await image.bytes(at: 2 << 12, count: 512) }
        let (before, content) = try await sample.repaired()
        #expect(before.corruptions == 2 && before.counts[.clusterMisplaced] == 2)
        #expect(content == sample.expected)
    }

    /// As long as nothing is written, a table that is used twice is as good as two.
    @Test func sharedTables() async throws {
        var sample = try await Sample(ImageCase(clusterBits: 9))
        let first = sample.word(sample.l1) & ~(1 << 63)
        sample.set(first, at: sample.l1)
        sample.set(first, at: sample.l1 + 8)
        let (before, content) = try await sample.repaired()
        #expect(before.corruptions > 0)
        let half = Int(512 * 64)
        #expect(content[..<half] == sample.expected[..<half])
        #expect(content[half..<half * 2] == sample.expected[..<half])
        let device = sample.device
        _ = try await Qcow2Check(device).repair(.all) { _ in }
        await #expect(throws: BlockError.self) { try await Qcow2File(device).open(forWriting: true) }
    }

    /// Data where an L2 table is, however well that is counted.
    @Test(arguments: [false, true]) func dataInTable(isCounted: Bool) async throws {
        var sample = try await Sample(ImageCase(clusterBits: 9))
        let table = sample.table(1)
        sample.set(UInt64(table) | (isCounted ? 0 : 1 << 63), at: sample.entry(9))
        if isCounted {
            sample.setRefcount(2, ofClusterAt: table)
            sample.set(UInt64(table), at: sample.l1 + 8)
        }
        let (before, content) = try await sample.repaired()
        #expect(before.corruptions > 0, "\(before.problems)")
        #expect(content == zeroed(sample.expected, cluster: 9, bits: 9))
    }

    @Test(arguments: [false, true]) func compressedInTable(isCounted: Bool) async throws {
        var sample = try await Sample(ImageCase(clusterBits: 9))
        let table = sample.table(1)
        sample.set(1 << 62 | UInt64(table), at: sample.entry(9))
        if isCounted {
            sample.setRefcount(2, ofClusterAt: table)
            sample.set(UInt64(table), at: sample.l1 + 8)
        }
        let (before, content) = try await sample.repaired()
        #expect(before.corruptions > 0, "\(before.problems)")
        #expect(content == zeroed(sample.expected, cluster: 9, bits: 9))
    }

    /// What is taken for an L2 table and is no such table may as well be the data that another entry says it is.
    @Test func tableInData() async throws {
        var sample = try await Sample(ImageCase(clusterBits: 9))
        let data = sample.word(sample.entry(3))
        sample.set(data, at: sample.l1 + 8)
        let device = sample.device
        let outcome = try await Qcow2Check(device).repair(.all) { _ in }
        #expect(!outcome.after.isClean, "the repair can't know which is right")
        let offset = Int(data & ~(1 << 63))
        #expect(device.snapshot.allBytes[offset..<offset + 512] == sample.expected[3 * 512..<4 * 512])
    }

    /// Refcounts can be made anew elsewhere: what else lies on top of them stays.
    @Test func dataInRefcountTable() async throws {
        var sample = try await Sample(ImageCase(clusterBits: 9))
        let table = Int(sample.word(48))
        sample.set(UInt64(table), at: sample.entry(9))
        sample.setRefcount(2, ofClusterAt: table)
        let before = try await Qcow2Check(sample.device).run()
        #expect(before.counts[.overlap, default: 0] > 0 && before.corruptions == 1, "\(before.problems)")
        let content = try await sample.repaired().content
        #expect(content[..<(9 * 512)] == sample.expected[..<(9 * 512)])
        #expect(content[(10 * 512)...] == sample.expected[(10 * 512)...])
    }

    /// The file ends inside an extended entry, whose first half breaks a rule. What its missing entries led to may not be
    /// given away.
    @Test(arguments: [2, 1 << 62 | 1 << 40, 1 << 63 | 0x200] as [UInt64]) func cutEntry(_ entry: UInt64) async throws {
        var kind = ImageCase(clusterBits: 14)
        kind.hasExtendedL2 = true
        kind.sizeOverride = 1 << 20
        var sample = try await Sample(kind)
        // A table at the very end.
        let table = sample.bytes.count
        sample.bytes += sample.bytes[sample.table(0)..<sample.table(0) + 24] + [UInt8](repeating: 0, count: 8)
        sample.set(1 << 63 | UInt64(table), at: sample.l1)
        sample.bytes.removeLast(8)
        sample.set(entry, at: sample.bytes.count - 8)
        let device = sample.device
        let outcome = try await Qcow2Check(device).repair(.all) { _ in }
        #expect(!outcome.before.isClean && outcome.before.leaks > 0)
        #expect(outcome.after.corruptions == 0 && outcome.leaksFixed == 0, "\(outcome.after.problems)")
        let image = try await sample.open(device)
        let content = try await image.bytes(at: 0, count: Int(image.length))
        let cluster = 1 << 14
        #expect(content[..<cluster] == sample.expected[..<cluster])
        #expect(content[cluster...].allSatisfy { $0 == 0 })
    }
}
