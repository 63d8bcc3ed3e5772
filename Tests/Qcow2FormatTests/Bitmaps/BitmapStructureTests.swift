// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import TestSupport
import Testing

@testable import Qcow2Format

/// What is encoded decodes to the same; each rule that is broken is refused by name; arbitrary bytes never trap.
@Suite struct BitmapStructureTests {
    private static let clusterLength: UInt64 = 4096
    private static let diskLength: UInt64 = 1 << 30
    private static let fileLength: UInt64 = 1 << 26

    private static func entry(_ random: inout SeededRandom, name: [UInt8]) -> BitmapDirectoryEntry {
        let bits = UInt8.random(in: 9...31, using: &random)
        let shape = BitmapShape(diskLength: diskLength, granularityBits: bits, clusterLength: clusterLength)
        return BitmapDirectoryEntry(
            nameBytes: name, granularityBits: bits,
            flags: BitmapFlags(rawValue: UInt32.random(in: 0...7, using: &random)),
            tableOffset: UInt64.random(in: 1..<1000, using: &random) * clusterLength,
            tableSize: UInt32(shape.tableSize),
            extraData: random.bytes(count: Bool.random(using: &random) ? 0 : Int.random(in: 1...40, using: &random)))
    }

    private static func decode(_ bytes: [UInt8], count: Int) throws(Qcow2Error.Problem) -> [BitmapDirectoryEntry] {
        try BitmapDirectory.decode(
            bytes, count: UInt32(count), diskLength: diskLength, clusterLength: clusterLength, fileLength: fileLength)
    }

    @Test(arguments: 0..<50) func directoriesComeBack(seed: Int) throws {
        var random = SeededRandom(seed: UInt64(seed))
        let entries = (0..<Int.random(in: 1...20, using: &random)).map { index in
            let length = [1, 2, 7, 8, 9, 200, 1019][Int.random(in: 0..<7, using: &random)]
            return Self.entry(&random, name: Array("\(index)".utf8) + random.bytes(count: length))
        }
        let bytes = try BitmapDirectory.encode(entries)
        #expect(bytes.count % 8 == 0)
        #expect(try Self.decode(bytes, count: entries.count) == entries)
    }

    /// The bytes of an entry, field by field as the format has them.
    @Test func goldenEntry() throws {
        let entry = BitmapDirectoryEntry(
            nameBytes: Array("nightly".utf8), granularityBits: 16, flags: .auto, tableOffset: 0x50000, tableSize: 1)
        let golden: [UInt8] =
            [0, 0, 0, 0, 0, 5, 0, 0] + [0, 0, 0, 1] + [0, 0, 0, 2] + [1, 16] + [0, 7] + [0, 0, 0, 0]
            + Array("nightly".utf8) + [0]
        #expect(try BitmapDirectory.encode([entry]) == golden)
        #expect(try Self.decode(golden, count: 1) == [entry])
    }

    struct Damage: Sendable, CustomStringConvertible {
        let description: String
        /// Part of the message.
        let text: String
        let change: @Sendable (inout [UInt8]) -> Void

        init(_ text: String, _ description: String, _ change: @escaping @Sendable (inout [UInt8]) -> Void) {
            self.text = text
            self.description = description
            self.change = change
        }
    }

    static let directoryDamages: [Damage] = [
        Damage("type is 0", "type 0") { $0[16] = 0 },
        Damage("type is 2", "type 2") { $0[16] = 2 },
        Damage("reserved bits", "flag 3") { $0[15] = 8 },
        Damage("reserved bits", "flag 31") { $0[12] = 0x80 },
        Damage("granularity", "granularity 2^8") { $0[17] = 8 },
        Damage("granularity", "granularity 2^32") { $0[17] = 32 },
        Damage("granularity", "granularity 2^255") { $0[17] = 255 },
        Damage("no name", "empty name") { $0[19] = 0 },
        Damage("reaches past its end", "name past the end") { $0[19] = 200 },
        Damage("reaches past its end", "extra data of 4 GiB") { for index in 20..<24 { $0[index] = 0xff } },
        Damage("table is empty", "no table") { for index in 8..<12 { $0[index] = 0 } },
        Damage("too large", "table of 2^27 + 1 entries") { $0.storeBigEndian(UInt32(1 << 27 + 1), at: 8) },
        Damage("too large", "table of 2^32 - 1 entries") { $0.storeBigEndian(UInt32.max, at: 8) },
        Damage("too large", "512 MiB and a cluster") { $0.storeBigEndian(UInt32((512 << 20) / 4096 + 1), at: 8) },
        Damage("the disk needs", "one entry too few") { $0.storeBigEndian(UInt32(63), at: 8) },
        Damage("the disk needs", "one entry too many") { $0.storeBigEndian(UInt32(65), at: 8) },
        Damage("not aligned", "table unaligned") { $0.storeBigEndian(UInt64(4096 + 512), at: 0) },
        Damage("overlaps", "table in the header") { $0.storeBigEndian(UInt64(0), at: 0) },
        Damage("past the end", "table past the end") { $0.storeBigEndian(UInt64(1 << 26), at: 0) },
        Damage("past the end", "end of the table is no number") { $0.storeBigEndian(UInt64.max << 12, at: 0) },
        Damage("the header says", "bytes behind the last entry") { $0 += [0, 0, 0, 0, 0, 0, 0, 0] },
        Damage("reaches past its end", "one byte short") { $0.removeLast(9) },
    ]

    /// One bitmap with 512-byte granules: 64 table entries of 4 KiB clusters.
    @Test(arguments: directoryDamages) func brokenDirectory(damage: Damage) throws {
        var bytes = try BitmapDirectory.encode([
            BitmapDirectoryEntry(
                nameBytes: Array("a bitmap".utf8), granularityBits: 9, flags: [], tableOffset: 4096, tableSize: 64)
        ])
        _ = try Self.decode(bytes, count: 1)
        damage.change(&bytes)
        let error = #expect(throws: Qcow2Error.Problem.self) { try Self.decode(bytes, count: 1) }
        #expect(try "\(#require(error))".contains(damage.text), "\(damage): \(String(describing: error))")
    }

    @Test func namesAreUnique() throws {
        let entry = BitmapDirectoryEntry(
            nameBytes: [65], granularityBits: 9, flags: [], tableOffset: 4096, tableSize: 64)
        let error = #expect(throws: Qcow2Error.Problem.self) {
            try Self.decode(try BitmapDirectory.encode([entry, entry]), count: 2)
        }
        #expect(try "\(#require(error))".contains("two of this name"))
    }

    /// A bitmap in use may be of another length: the disk has changed since.
    @Test func inUseBitmapsMayHaveAnotherLength() throws {
        let entry = BitmapDirectoryEntry(
            nameBytes: [65], granularityBits: 9, flags: [.inUse], tableOffset: 4096, tableSize: 3)
        #expect(try Self.decode(try BitmapDirectory.encode([entry]), count: 1) == [entry])
        #expect(entry.defect == .inconsistent)
    }

    @Test func longestName() throws {
        var entry = BitmapDirectoryEntry(
            nameBytes: [UInt8](repeating: 97, count: 1023), granularityBits: 9, flags: [], tableOffset: 4096,
            tableSize: 64)
        #expect(try Self.decode(try BitmapDirectory.encode([entry]), count: 1) == [entry])
        entry = BitmapDirectoryEntry(
            nameBytes: [UInt8](repeating: 97, count: 1024), granularityBits: 9, flags: [], tableOffset: 4096,
            tableSize: 64)
        let error = #expect(throws: Qcow2Error.Problem.self) {
            try Self.decode(try BitmapDirectory.encode([entry]), count: 1)
        }
        #expect(try "\(#require(error))".contains("too long"))
    }

    @Test func unknownExtraData() {
        let compatible = BitmapDirectoryEntry(
            nameBytes: [65], granularityBits: 9, flags: [.extraDataCompatible], extraData: [1])
        #expect(compatible.defect == nil)
        let incompatible = BitmapDirectoryEntry(nameBytes: [65], granularityBits: 9, flags: [], extraData: [1])
        #expect(incompatible.defect == .unknownExtraData)
    }

    static let extensionDamages: [Damage] = [
        Damage("instead of 24", "16 bytes") { $0.removeLast(8) },
        Damage("instead of 24", "32 bytes") { $0 += [0, 0, 0, 0, 0, 0, 0, 0] },
        Damage("instead of 24", "no bytes") { $0 = [] },
        Damage("reserved field", "reserved") { $0[7] = 1 },
        Damage("no bitmaps", "no bitmaps") { $0.storeBigEndian(UInt32(0), at: 0) },
        Damage("too many", "65536 bitmaps") { $0.storeBigEndian(UInt32(65536), at: 0) },
        Damage("too small", "two bitmaps in 32 bytes") { $0.storeBigEndian(UInt32(2), at: 0) },
        Damage("too small", "empty directory") { $0.storeBigEndian(UInt64(0), at: 8) },
        Damage("too large", "directory of 64 MiB") { $0.storeBigEndian(UInt64(64 << 20), at: 8) },
        Damage("too large", "directory of 2^64 - 1") { $0.storeBigEndian(UInt64.max, at: 8) },
        Damage("not aligned", "directory unaligned") { $0.storeBigEndian(UInt64(4096 + 8), at: 16) },
        Damage("overlaps", "directory in the header") { $0.storeBigEndian(UInt64(0), at: 16) },
        Damage("past the end", "directory past the end") { $0.storeBigEndian(UInt64(1 << 26), at: 16) },
        Damage("past the end", "end of the directory is no number") { $0.storeBigEndian(UInt64.max << 12, at: 16) },
    ]

    @Test(arguments: extensionDamages) func brokenExtension(damage: Damage) throws {
        let value = BitmapsExtension(count: 1, directoryLength: 32, directoryOffset: 8192)
        var data = value.encoded().data
        #expect(try Self.decode(data) == value)
        damage.change(&data)
        let error = #expect(throws: Qcow2Error.Problem.self) { try Self.decode(data) }
        #expect(try "\(#require(error))".contains(damage.text), "\(damage): \(String(describing: error))")
    }

    private static func decode(_ data: [UInt8]) throws(Qcow2Error.Problem) -> BitmapsExtension {
        try BitmapsExtension(decoding: data, clusterLength: clusterLength, fileLength: fileLength)
    }

    @Test func tableEntries() throws {
        let decode = { (value: UInt64) throws(BitmapTableEntry.Defect) in
            try BitmapTableEntry(rawValue: value, clusterLength: 4096, fileLength: 1 << 26)
        }
        for entry in [BitmapTableEntry.zeroes, .ones, .stored(HostOffset(4096)), .stored(HostOffset(1 << 26 - 4096))] {
            #expect(try decode(entry.rawValue) == entry)
        }
        for bit in (1...8).map({ UInt64(1) << $0 }) + (56...63).map({ UInt64(1) << $0 }) {
            #expect(throws: BitmapTableEntry.Defect.reservedBits) { try decode(bit) }
            #expect(throws: BitmapTableEntry.Defect.reservedBits) { try decode(8192 | bit) }
        }
        #expect(throws: BitmapTableEntry.Defect.reservedBits) { try decode(8192 | 1) }
        #expect(throws: BitmapTableEntry.Defect.notAligned) { try decode(8192 | 512) }
        #expect(throws: BitmapTableEntry.Defect.pastEnd) { try decode(1 << 26) }
        #expect(throws: BitmapTableEntry.Defect.pastEnd) { try decode(0x00ff_ffff_ffff_f000) }
    }

    /// Shapes of all kinds: what a table covers is what the disk has.
    @Test(arguments: [9, 12, 16, 21], [9, 16, 31] as [UInt8])
    func shapes(clusterBits: Int, granularityBits: UInt8) {
        var random = SeededRandom(seed: UInt64(clusterBits))
        for _ in 0..<200 {
            let length = UInt64.random(in: 1...1 << UInt64.random(in: 1...45, using: &random), using: &random)
            let shape = BitmapShape(
                diskLength: length, granularityBits: granularityBits, clusterLength: 1 << UInt64(clusterBits))
            let last = Int(shape.tableSize) - 1
            #expect(shape.range(ofEntry: last).upperBound == length && !shape.range(ofEntry: last).isEmpty)
            #expect(shape.range(ofEntry: 0).lowerBound == 0)
            let used = UInt64(shape.usedLength(ofEntry: last)) + UInt64(last) * shape.clusterLength
            #expect(used == shape.dataLength && shape.usedLength(ofEntry: last) > 0)
        }
    }

    @Test(arguments: 0..<40) func arbitraryBytesNeverTrap(seed: Int) {
        var random = SeededRandom(seed: UInt64(seed))
        for _ in 0..<200 {
            var bytes = random.bytes(count: Int.random(in: 0...200, using: &random))
            // Mostly plausible: small lengths.
            for index in bytes.indices where index % 24 > 11 && index % 24 != 16 && index % 24 != 17 {
                bytes[index] = Bool.random(using: &random) ? 0 : bytes[index] & 7
            }
            let count = Int.random(in: 0...5, using: &random)
            if let entries = try? Self.decode(bytes, count: count) { #expect(entries.count == count) }
            _ = try? Self.decode(bytes)
        }
    }
}
