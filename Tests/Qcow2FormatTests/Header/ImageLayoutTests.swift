// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import TestSupport
import Testing

@testable import Qcow2Format

/// Every check of a header's numbers, one rejected value each.
@Suite struct ImageLayoutTests {
    struct Rejected: Sendable, CustomStringConvertible {
        let description: String
        let change: @Sendable (inout Qcow2Header) -> Void

        init(_ description: String, _ change: @escaping @Sendable (inout Qcow2Header) -> Void) {
            self.description = description
            self.change = change
        }
    }

    private static func valid() -> Qcow2Header {
        var header = Qcow2Header()
        header.size = 1 << 20
        header.l1Size = 1
        header.l1TableOffset = 0x30000
        header.refcountTableOffset = 0x10000
        header.refcountTableClusters = 1
        return header
    }

    private static func layout(_ header: Qcow2Header) throws -> ImageLayout {
        try ImageLayout.checkClusterBits(header)
        return try ImageLayout(header, names: FeatureNameTable(data: []), fileLength: 0x50000)
    }

    static let rejected: [Rejected] = [
        Rejected("cluster_bits 8") { $0.clusterBits = 8 },
        Rejected("cluster_bits 22") { $0.clusterBits = 22 },
        Rejected("cluster_bits 2^32-1") { $0.clusterBits = .max },
        Rejected("header_length 103") { $0.headerLength = 103 },
        Rejected("header_length above the cluster") { $0.headerLength = 65537 },
        Rejected("AES") { $0.encryptionMethod = 1 },
        Rejected("LUKS") { $0.encryptionMethod = 2 },
        Rejected("unknown encryption") { $0.encryptionMethod = 99 },
        Rejected("unknown feature") { $0.incompatibleFeatures = IncompatibleFeatures(rawValue: 1 << 5) },
        Rejected("highest feature") { $0.incompatibleFeatures = IncompatibleFeatures(rawValue: 1 << 63) },
        Rejected("refcount_order 7") { $0.refcountOrder = 7 },
        Rejected("refcount_order 2^32-1") { $0.refcountOrder = .max },
        Rejected("size 2^63") { $0.size = 1 << 63 },
        Rejected("size 2^64-1") { $0.size = .max },
        Rejected("l1_size too small") { $0.size = 1 << 40 },
        Rejected("l1_size 0") { $0.l1Size = 0 },
        Rejected("l1_size above 32 MiB") { $0.l1Size = (4 << 20) + 1 },
        Rejected("l1_size 2^32-1") { $0.l1Size = .max },
        Rejected("L1 table unaligned") { $0.l1TableOffset = 0x30200 },
        Rejected("L1 table in the header") { $0.l1TableOffset = 0 },
        Rejected("L1 table behind the end") { $0.l1TableOffset = 0x60000 },
        Rejected("L1 table wraps") { $0.l1TableOffset = 0xffff_ffff_ffff_0000 },
        Rejected("zstd without its feature") { $0.compressionType = 1 },
        Rejected("feature without a type") { $0.incompatibleFeatures = .compressionType },
        Rejected("compression type 2") {
            $0.compressionType = 2
            $0.incompatibleFeatures = .compressionType
        },
        Rejected("extended L2 with small clusters") {
            $0.clusterBits = 13
            $0.l1TableOffset = 0x2000
            $0.refcountTableOffset = 0x4000
            $0.incompatibleFeatures = .extendedL2
        },
    ]

    /// What doesn't matter for reading.
    static let rejectedRefcounts: [Rejected] = [
        Rejected("no refcount table") { $0.refcountTableClusters = 0 },
        Rejected("refcount table above 8 MiB") { $0.refcountTableClusters = 129 },
        Rejected("refcount table 2^32-1") { $0.refcountTableClusters = .max },
        Rejected("refcount table unaligned") { $0.refcountTableOffset = 0x10001 },
        Rejected("refcount table at 0") { $0.refcountTableOffset = 0 },
        Rejected("refcount table past the end") { $0.refcountTableClusters = 5 },
    ]

    @Test(arguments: rejectedRefcounts) func refusesRefcounts(one: Rejected) throws {
        var header = Self.valid()
        try ImageLayout.checkRefcountTable(header, clusterLength: 65536, fileLength: 0x50000)
        one.change(&header)
        #expect(throws: Qcow2Error.Problem.self) {
            try ImageLayout.checkRefcountTable(header, clusterLength: 65536, fileLength: 0x50000)
        }
        _ = try Self.layout(header)
    }

    @Test func valid() throws {
        let layout = try Self.layout(Self.valid())
        #expect(layout.size == 1 << 20)
        #expect(layout.geometry == ClusterGeometry(clusterBits: 16, hasSubclusters: false))
    }

    @Test(arguments: rejected) func refuses(one: Rejected) {
        var header = Self.valid()
        one.change(&header)
        #expect(throws: Qcow2Error.Problem.self) { try Self.layout(header) }
    }

    /// What must not be written, because we would not keep its promises, or can't rely on it.
    @Test func refusesToWrite() async throws {
        let original = MemoryDevice(length: 0)
        try await Qcow2Image.create(Qcow2Options(size: 1 << 20), in: original).close()
        let bytes = original.snapshot.allBytes
        func opens(_ change: (inout [UInt8]) -> Void) async -> (reading: Bool, writing: Bool) {
            var changed = bytes
            change(&changed)
            let device = MemoryDevice(bytes: changed)
            let reading = try? await Qcow2File(device).open()
            let writing = try? await Qcow2File(device).open(forWriting: true)
            return (reading != nil, writing != nil)
        }
        #expect(await opens { _ in } == (true, true))
        #expect(await opens { $0[79] = 1 } == (true, false), "dirty")
        #expect(await opens { $0[79] = 2 } == (true, false), "corrupt")
        let table = Int(bytes[48..<56].reduce(0) { $0 << 8 | UInt64($1) })
        #expect(await opens { $0[table + 6] |= 2 } == (true, false), "refcount block unaligned")
        #expect(await opens { $0[table + 2] = 1 } == (true, false), "refcount block past the end")
        #expect(
            await opens { bytes in for index in 0..<8 { bytes[table + 8 + index] = bytes[table + index] } }
                == (true, false), "two entries for one refcount block")
        let here: [UInt8] = [0, 0, 0, 0, 0, UInt8(table >> 16), 0, 0]
        #expect(
            await opens { $0.replaceSubrange(table..<table + 8, with: here) } == (true, false),
            "refcount block in the refcount table")
    }
}
