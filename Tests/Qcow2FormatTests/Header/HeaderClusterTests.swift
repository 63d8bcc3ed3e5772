// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import TestSupport
import Testing

@testable import Qcow2Format

/// The first cluster: every field at its place, unknown things kept, and nothing read that isn't there.
@Suite struct HeaderClusterTests {
    private static func decoded(_ bytes: [UInt8]) throws -> HeaderCluster {
        let header = try Qcow2Header(decoding: bytes.span.bytes)
        try ImageLayout.checkClusterBits(header)
        return try HeaderCluster(header: header, decoding: bytes.span.bytes)
    }

    private static func fields(_ version: UInt32) -> Qcow2Header {
        var header = Qcow2Header()
        header.version = version
        header.clusterBits = 12
        header.size = 0x0123_4567_89ab_ce00
        header.l1Size = 0x1122_3344
        header.l1TableOffset = 0x0102_0304_0506_0000
        header.refcountTableOffset = 0x0807_0605_0403_0000
        header.refcountTableClusters = 0x5566_7788
        header.snapshotCount = 3
        header.snapshotsOffset = 0x7000
        if version == 2 {
            header.headerLength = 72
        } else {
            header.incompatibleFeatures = [.compressionType, .extendedL2]
            header.compatibleFeatures = .lazyRefcounts
            header.autoclearFeatures = .bitmaps
            header.refcountOrder = 5
            header.compressionType = 1
        }
        return header
    }

    @Test func goldenVersion3() throws {
        let bytes = try HeaderCluster(header: Self.fields(3), backingFileName: "abc").encoded()
        #expect(bytes.count == 4096)
        let golden: [UInt8] = [
            0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3,
            0, 0, 0, 0, 0, 0, 0, 120, 0, 0, 0, 3, 0, 0, 0, 12,
            0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xce, 0x00, 0, 0, 0, 0, 0x11, 0x22, 0x33, 0x44,
            0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0, 0, 0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0, 0,
            0x55, 0x66, 0x77, 0x88, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0x70, 0,
            0, 0, 0, 0, 0, 0, 0, 0x18, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1,
            0, 0, 0, 5, 0, 0, 0, 112, 1, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0, 0, 0, 0, 0, 0, 0x61, 0x62, 0x63, 0,
        ]
        #expect(Array(bytes.prefix(golden.count)) == golden)
        #expect(try Self.decoded(bytes).encoded() == bytes)
    }

    @Test func goldenVersion2() throws {
        let bytes = try HeaderCluster(header: Self.fields(2)).encoded()
        #expect(Array(bytes[72..<80]) == [UInt8](repeating: 0, count: 8))
        let read = try Self.decoded(bytes)
        #expect(read.header == Self.fields(2))
        #expect(read.header.refcountOrder == 4)
    }

    /// Fields and extensions of the future, and names that are no text, survive a rewrite.
    @Test func keepsTheUnknown() throws {
        var random = SeededRandom(seed: 6)
        for _ in 0..<200 {
            var header = Self.fields(3)
            header.trailingFields = random.bytes(count: Int.random(in: 7...80, using: &random))
            header.headerLength = UInt32(105 + header.trailingFields.count)
            let extensions = (0..<Int.random(in: 0...5, using: &random)).map { _ in
                HeaderExtension(
                    type: UInt32.random(in: 1...UInt32.max, using: &random),
                    data: random.bytes(count: Int.random(in: 0...70, using: &random)))
            }
            let cluster = HeaderCluster(header: header, extensions: extensions, backingFileName: "name")
            let bytes = try cluster.encoded()
            let read = try Self.decoded(bytes)
            #expect(read.header.trailingFields == header.trailingFields)
            #expect(read.extensions == extensions)
            #expect(read.backingFileName == "name")
            #expect(try read.encoded() == bytes)
        }
    }

    @Test func keepsNamesThatAreNoText() throws {
        var bytes = try HeaderCluster(header: Self.fields(3), backingFileName: "abc").encoded()
        bytes.replaceSubrange(120..<123, with: [0xff, 0xfe, 0x80])
        let read = try Self.decoded(bytes)
        #expect(read.backingFileName != nil)
        #expect(try read.encoded() == bytes)
    }

    @Test(arguments: [2, 3] as [UInt32]) func everyTruncation(version: UInt32) throws {
        let extensions = [HeaderExtension(type: 0x1234, data: [1, 2, 3])]
        let cluster = HeaderCluster(header: Self.fields(version), extensions: extensions, backingFileName: "name")
        let bytes = try cluster.encoded()
        let length = Int(Self.fields(version).headerLength)
        let nameEnd = length + 16 + 8 + 4
        for count in 0..<nameEnd {
            let prefix = Array(bytes.prefix(count))
            #expect(throws: Qcow2Error.Problem.self, "\(count) bytes") { try Self.decoded(prefix) }
        }
        #expect(try Self.decoded(Array(bytes.prefix(nameEnd))).backingFileName == "name")
    }

    @Test func refusesWhatIsNoHeader() {
        var bytes = Qcow2Header().encoded()
        bytes[3] = 0xfa
        #expect(throws: Qcow2Error.Problem.self) { try Self.decoded(bytes) }
        for version: UInt32 in [0, 1, 4, .max] {
            var header = Qcow2Header()
            header.version = version
            var bytes = header.encoded()
            bytes += [UInt8](repeating: 0, count: 65536)
            #expect(throws: Qcow2Error.Problem.self) { try Self.decoded(bytes) }
        }
    }

    @Test func refusesTooMuch() {
        #expect(throws: Qcow2Error.Problem.self) {
            try HeaderCluster(header: Self.fields(3), backingFileName: String(repeating: "x", count: 1024)).encoded()
        }
        var small = Self.fields(3)
        small.clusterBits = 9
        #expect(throws: Qcow2Error.Problem.self) {
            try HeaderCluster(header: small, backingFileName: String(repeating: "x", count: 400)).encoded()
        }
    }

    /// Extension lengths that leave the cluster are refused, whatever they are.
    @Test(arguments: [1, 3977, 0x7fff_ffff, 0xffff_fff8, 0xffff_ffff] as [UInt32])
    func extensionPastTheEnd(extra: UInt32) throws {
        var bytes = try HeaderCluster(header: Self.fields(3)).encoded()
        bytes.storeBigEndian(UInt32(0x1234), at: 112)
        bytes.storeBigEndian(extra == 1 ? UInt32(4096 - 120 + 1) : extra, at: 116)
        #expect(throws: Qcow2Error.Problem.self) { try Self.decoded(bytes) }
    }

    @Test func featureNames() {
        let other: [UInt8] = [0, 40, 0x41, 0x0a] + [UInt8](repeating: 0, count: 44)
        let table = FeatureNameTable(data: FeatureNameTable.ours + other)
        #expect(table.names(of: [.dirty, .extendedL2]) == ["dirty bit", "extended L2 entries"])
        let unknown = IncompatibleFeatures(rawValue: 1 << 40 | 1 << 63)
        #expect(table.names(of: unknown) == ["A\n", "unknown incompatible feature bit 63"])
        // Cut anywhere, it is read as far as it goes.
        for count in 0..<FeatureNameTable.ours.count {
            _ = FeatureNameTable(data: Array(FeatureNameTable.ours.prefix(count)))
        }
    }
}
