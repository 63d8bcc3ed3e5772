// SPDX-License-Identifier: GPL-2.0-or-later

import TestSupport
import Testing

@testable import Qcow2Format

/// Table entries and descriptors: what is stored is what was meant, and what is reserved is seen.
@Suite struct EntryTests {
    private static let offsetMask: UInt64 = 0x00ff_ffff_ffff_fe00

    @Test func goldenEntries() {
        #expect(L1Entry(l2Table: HostOffset(0x40000)).rawValue == 0x8000_0000_0004_0000)
        #expect(L1Entry(l2Table: HostOffset(0x40000), isCopied: false).rawValue == 0x40000)
        #expect(L2Entry(cluster: HostOffset(0x50000)).rawValue == 0x8000_0000_0005_0000)
        #expect(L2Entry.zero.rawValue == 1)
        #expect(L1Entry(rawValue: 0x8000_0000_0004_0000).l2TableOffset == HostOffset(0x40000))
        #expect(L1Entry(rawValue: 1 << 63).l2TableOffset == nil)
        // 64 KiB clusters: bits 54 to 61 hold the number of further sectors.
        let compressed = L2Entry(rawValue: 1 << 62 | 3 << 54 | 0x5_0123)
        let descriptor = CompressedClusterDescriptor(compressed, clusterBits: 16)
        #expect(descriptor.offset == HostOffset(0x5_0123))
        #expect(descriptor.length == 4 * 512 - 0x123)
    }

    @Test func randomEntries() {
        var random = SeededRandom(seed: 1)
        for _ in 0..<5000 {
            let value = random.next() & random.next()
            let l1 = L1Entry(rawValue: value)
            #expect(l1.hasReservedBits == (value & 0x7f00_0000_0000_01ff != 0))
            #expect((l1.l2TableOffset?.bytes ?? 0) == value & Self.offsetMask)
            let l2 = L2Entry(rawValue: value)
            #expect(l2.isCompressed == (value >> 62 & 1 == 1))
            let defects = Self.rules().mapping(of: l2, SubclusterBitmap(), at: 0).defects
            let old = Self.rules(version: 2).mapping(of: l2, SubclusterBitmap(), at: 0).defects
            if l2.isCompressed {
                #expect(defects == (value >> 63 == 1 ? .copiedCompressed : []))
            } else {
                #expect(defects.contains(.reservedBits) == (value & 0x7f00_0000_0000_01fe != 0))
                #expect(old.contains(.zeroFlagInVersion2) == (value & 1 == 1))
                #expect(defects.contains(.unaligned) == (value & Self.offsetMask & 0xffff != 0))
                #expect(l2.hostOffset.bytes == value & Self.offsetMask)
            }
        }
    }

    private static func rules(
        version: UInt32 = 3, hasSubclusters: Bool = false, hasDataFile: Bool = false
    ) -> L2EntryRules {
        L2EntryRules(
            ImageLayout(
                version: version, geometry: ClusterGeometry(clusterBits: 16, hasSubclusters: hasSubclusters),
                refcounts: RefcountCodec(order: 4), size: 1 << 20, compressionType: .zlib,
                hasExternalDataFile: hasDataFile))
    }

    /// An entry, and what it is in an image of some kind.
    struct Meaning: Sendable {
        var entry: UInt64
        var bitmap: UInt64 = 0
        var rules = EntryTests.rules()
        var guest: UInt64 = 0
        var host: UInt64?
        var defects: L2Mapping.Defects = []
    }

    private static let meanings: [Meaning] = {
        let (copied, cluster) = (UInt64(1) << 63, UInt64(0x50000))
        let extended = rules(hasSubclusters: true)
        let data = rules(hasDataFile: true)
        return [
            Meaning(entry: 0), Meaning(entry: 1), Meaning(entry: copied | cluster, host: cluster),
            Meaning(entry: cluster | 1, host: cluster),
            // What QEMU reads, and nothing depends on.
            Meaning(entry: copied, defects: .copiedWithoutCluster),
            Meaning(entry: copied | 1, defects: .copiedWithoutCluster),
            Meaning(entry: copied | cluster | 1, bitmap: 5, rules: extended, host: cluster, defects: .ignoredZeroFlag),
            Meaning(entry: 1, bitmap: 1 << 40, rules: extended, defects: .ignoredZeroFlag),
            // What it refuses.
            Meaning(entry: 1, rules: rules(version: 2), defects: .zeroFlagInVersion2),
            Meaning(entry: copied | 0x50200, host: 0x50200, defects: .unaligned),
            Meaning(
                entry: copied | cluster, bitmap: 1 << 32 | 1, rules: extended, host: cluster,
                defects: .subclusterConflict),
            Meaning(entry: 0, bitmap: 1, rules: extended, defects: .subclustersWithoutCluster),
            // Data files: guest bytes at guest offsets, and offset 0 is a cluster where the flag says so.
            Meaning(entry: copied, rules: data, host: 0), Meaning(entry: 0, rules: data),
            Meaning(entry: copied, rules: data, guest: 0x10000, host: 0, defects: .misplaced),
            Meaning(entry: copied | cluster, rules: data, guest: cluster, host: cluster),
            Meaning(entry: copied | cluster, rules: data, guest: 0x60000, host: cluster, defects: .misplaced),
        ]
    }()

    @Test(arguments: meanings.indices) func meaning(index: Int) {
        let one = Self.meanings[index]
        let mapping = one.rules.mapping(
            of: L2Entry(rawValue: one.entry), SubclusterBitmap(rawValue: one.bitmap), at: one.guest)
        #expect(mapping.defects == one.defects)
        #expect(mapping.isBroken == !one.defects.isSubset(of: [.copiedWithoutCluster, .ignoredZeroFlag]))
        #expect(mapping.place == one.host.map { .cluster(HostOffset($0)) } ?? .none)
    }

    @Test func compressedMeanings() {
        let entry = L2Entry(rawValue: 1 << 62 | 0x5_0123)
        #expect(Self.rules(hasDataFile: true).mapping(of: entry, SubclusterBitmap(), at: 0).isBroken)
        let extended = Self.rules(hasSubclusters: true).mapping(of: entry, SubclusterBitmap(rawValue: 3), at: 0)
        #expect(extended.defects == .compressedWithBitmap && !extended.isBroken)
    }

    @Test(arguments: 9...21) func compressedDescriptors(clusterBits: Int) {
        var random = SeededRandom(seed: UInt64(clusterBits))
        let limit = CompressedClusterDescriptor.offsetLimit(clusterBits: clusterBits)
        let cluster = UInt64(1) << UInt64(clusterBits)
        for _ in 0..<2000 {
            let length = UInt64.random(in: 1..<cluster, using: &random)
            let offset = random.next() >> UInt64.random(in: 8..<60, using: &random) % (limit - length)
            let made = CompressedClusterDescriptor(offset: HostOffset(offset), storedLength: length)
            // The sectors that hold the first and the last byte.
            #expect(made.length == ((offset + length - 1) / 512 + 1) * 512 - offset)
            let entry = L2Entry(made, clusterBits: clusterBits)
            #expect(entry.isCompressed && !entry.isCopied)
            #expect(CompressedClusterDescriptor(entry, clusterBits: clusterBits) == made)
        }
        // Any value decodes, to no more than a little above two clusters.
        for _ in 0..<2000 {
            let entry = L2Entry(rawValue: random.next() | 1 << 62)
            let descriptor = CompressedClusterDescriptor(entry, clusterBits: clusterBits)
            #expect(descriptor.length > 0 && descriptor.length <= 2 * cluster)
            #expect(descriptor.offset.bytes < 1 << 62)
            #expect(descriptor.encoded(clusterBits: clusterBits) == entry.rawValue & (1 << 62 - 1))
        }
    }

    @Test func subclusterBitmap() {
        var random = SeededRandom(seed: 3)
        for _ in 0..<500 {
            var bitmap = SubclusterBitmap()
            var model = [Character](repeating: "u", count: 32)
            for _ in 0..<10 {
                let first = Int.random(in: 0..<32, using: &random)
                let range = first..<Int.random(in: first + 1...32, using: &random)
                let kind: Character = "uaz".randomElement(using: &random)!
                switch kind {
                case "a": bitmap.setAllocated(range)
                case "z": bitmap.setZero(range)
                default: bitmap.setUnallocated(range)
                }
                for index in range { model[index] = kind }
                #expect(bitmap.isValid)
                #expect((0..<32).allSatisfy { bitmap.isAllocated($0) == (model[$0] == "a") })
                #expect((0..<32).allSatisfy { bitmap.isZero($0) == (model[$0] == "z") })
                #expect(bitmap.hasAllocated == model.contains("a"))
            }
        }
        #expect(!SubclusterBitmap(rawValue: 1 << 40 | 1 << 8).isValid)
        #expect(SubclusterBitmap.allZero.isValid && SubclusterBitmap.allAllocated.isValid)
    }

    @Test(arguments: [(9, false), (16, false), (21, false), (14, true), (16, true), (21, true)])
    func geometry(clusterBits: Int, hasSubclusters: Bool) {
        let geometry = ClusterGeometry(clusterBits: clusterBits, hasSubclusters: hasSubclusters)
        let entries = geometry.clusterLength / (hasSubclusters ? 16 : 8)
        var random = SeededRandom(seed: 4)
        for _ in 0..<500 {
            let offset = random.next() >> UInt64.random(in: 1..<40, using: &random)
            #expect(UInt64(geometry.l1Index(of: GuestOffset(offset))) == offset / geometry.clusterLength / entries)
            #expect(UInt64(geometry.l2Index(of: GuestOffset(offset))) == offset / geometry.clusterLength % entries)
        }
        #expect(geometry.l1EntryCount(forLength: 0) == 0)
        #expect(geometry.l1EntryCount(forLength: 1) == 1)
        #expect(geometry.l1EntryCount(forLength: entries * geometry.clusterLength) == 1)
        #expect(geometry.l1EntryCount(forLength: entries * geometry.clusterLength + 1) == 2)
    }
}
