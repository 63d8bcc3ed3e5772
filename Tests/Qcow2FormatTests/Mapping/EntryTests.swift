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
            if l2.isCompressed {
                #expect(l2.hasReservedBits(allowsZero: true) == (value >> 63 == 1))
            } else {
                #expect(l2.hasReservedBits(allowsZero: true) == (value & 0x7f00_0000_0000_01fe != 0))
                #expect(l2.hasReservedBits(allowsZero: false) == (value & 0x7f00_0000_0000_01ff != 0))
                #expect(l2.hostOffset.bytes == value & Self.offsetMask)
            }
        }
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
            #expect(entry.isCompressed && !entry.isCopied && !entry.hasReservedBits(allowsZero: true))
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
