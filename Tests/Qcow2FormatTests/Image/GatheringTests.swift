// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import FormatTestSupport
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

/// Pieces that are written or read together are written and read as if one after the other, whatever the image holds there.
@Suite struct GatheringTests {
    static let cases = ImageCase.crossProduct(orders: { [$0 % 7] }, round: 2)

    /// Ascending pieces that don't overlap, most of them whole clusters, one behind the other in a buffer.
    private static func pieces(_ kind: ImageCase, _ random: inout SeededRandom) -> [TransferPiece] {
        let cluster = UInt64(1) << UInt64(kind.clusterBits)
        var pieces: [TransferPiece] = []
        var (position, end) = (UInt64(0), 0)
        while pieces.count < 40 {
            position += UInt64.random(in: 0..<3, using: &random) * cluster
            var length = UInt64.random(in: 1...3, using: &random) * cluster
            if Int.random(in: 0..<6, using: &random) == 0 {
                position += UInt64.random(in: 0..<cluster, using: &random)
                length = UInt64.random(in: 1...cluster, using: &random)
            }
            guard position < kind.size else { break }
            length = min(length, kind.size - position)
            // Mostly without a gap in the buffer.
            if Int.random(in: 0..<8, using: &random) == 0 { end += 4096 }
            pieces.append(TransferPiece(offset: position, slice: end..<end + Int(length)))
            end += Int(length)
            position += length
            if Int.random(in: 0..<3, using: &random) > 0 { position = position / cluster * cluster + cluster }
        }
        return pieces
    }

    @Test(arguments: cases) func againstAnArray(kind: ImageCase) async throws {
        let model = try await ImageModel(kind)
        var random = SeededRandom(seed: UInt64(kind.clusterBits))
        for round in 0..<(kind.clusterBits > 18 ? 3 : 8) {
            for _ in 0..<round { try await model.step() }
            let pieces = Self.pieces(kind, &random)
            let buffer = random.bytes(count: pieces.map(\.slice.upperBound).max() ?? 0)
            try await model.image.write(pieces, from: buffer.span.bytes)
            for piece in pieces {
                model.expected.replaceSubrange(
                    Int(piece.offset)..<Int(piece.range.upperBound), with: buffer[piece.slice])
            }
            try await model.verify()
            try await Self.expectPieces(pieces, of: model.image, model.expected)
        }
        try await model.reopen()
        try await model.verify()
        try await model.close()
        let file = model.file as! MemoryDevice
        #expect(ImageCheck(file.snapshot.allBytes).problems.isEmpty)
        let backing = model.backing
        let image = try await Qcow2File(file).open(dataFile: model.dataFile, backing: backing)
        for _ in 0..<5 { try await Self.expectPieces(Self.pieces(kind, &random), of: image, model.expected) }
    }

    private static func expectPieces(
        _ pieces: [TransferPiece], of image: Qcow2Image, _ expected: [UInt8]
    ) async throws {
        var bytes = [UInt8](repeating: 0xA5, count: pieces.map(\.slice.upperBound).max() ?? 0)
        var span = bytes.mutableSpan
        var raw = span.mutableBytes
        try await image.read(pieces, into: &raw)
        for piece in pieces {
            #expect(bytes[piece.slice] == expected[Int(piece.offset)..<Int(piece.range.upperBound)])
        }
    }

    private static func noise(_ clusters: Int) -> [UInt8] {
        var random = SeededRandom(seed: 1)
        return random.bytes(count: clusters * 4096)
    }

    /// Clusters that lie apart on the disk lie together in the file: one write, and one read.
    @Test func togetherInTheFile() async throws {
        var kind = ImageCase(clusterBits: 12)
        kind.sizeOverride = 4 << 20
        let memory = MemoryDevice(length: 0)
        let file = FaultInjectingDevice(memory)
        let image = try await Qcow2Image.create(kind.options, in: file)
        // The first L2 table is made for the first write.
        try await image.write(at: 4096 * 100, bytes: [1])
        let pieces = (0..<20).map { TransferPiece(offset: UInt64($0) * 3 * 4096, slice: $0 * 4096..<($0 + 1) * 4096) }
        let content = Self.noise(20)
        let writes = file.counts[.write, default: 0]
        try await image.write(pieces, from: content.span.bytes)
        #expect(file.counts[.write, default: 0] == writes + 1)
        try await image.close()
        let again = FaultInjectingDevice(memory)
        let read = try await Qcow2File(again).open()
        // Brings the table into the cache.
        _ = try await read.bytes(at: 0, count: 1)
        let reads = again.counts[.read, default: 0]
        var bytes = [UInt8](repeating: 0, count: content.count)
        var span = bytes.mutableSpan
        var raw = span.mutableBytes
        try await read.read(pieces, into: &raw)
        #expect(again.counts[.read, default: 0] == reads + 1)
        #expect(bytes == content)
    }

    /// A write that fails leaves no leaks and says which piece it was; so does a read.
    @Test(arguments: [1, 2, 3]) func failures(failing: Int) async throws {
        var kind = ImageCase(clusterBits: 12)
        kind.sizeOverride = 4 << 20
        let memory = MemoryDevice(length: 0)
        let file = FaultInjectingDevice(memory)
        let image = try await Qcow2Image.create(kind.options, in: file)
        let old = [UInt8](repeating: 9, count: 4096)
        try await image.write(at: 4096 * 9, bytes: old)
        let pieces = (0..<6).map { TransferPiece(offset: UInt64($0) * 3 * 4096, slice: $0 * 4096..<($0 + 1) * 4096) }
        let content = Self.noise(6)
        // The first three are written together, the fourth in place, the others together again.
        file.setFaults([.call(file.counts[.write, default: 0] + failing, of: .write, with: .noSpace)])
        do throws(TransferError) {
            try await image.write(pieces, from: content.span.bytes)
            Issue.record("no failure")
        } catch {
            #expect(error.underlying.errno == .noSpace)
            #expect(error.index == [0, 3, 4][failing - 1])
            for (index, piece) in pieces.enumerated() {
                let isWritten = index < error.index
                #expect(
                    try await image.bytes(at: piece.offset, count: 4096)
                        == (isWritten
                            ? Array(content[piece.slice])
                            : piece.offset == 9 * 4096 ? old : [UInt8](repeating: 0, count: 4096)))
            }
        }
        try await image.write(pieces, from: content.span.bytes)
        try await image.close()
        #expect(ImageCheck(memory.snapshot.allBytes).problems.isEmpty)

        let again = FaultInjectingDevice(memory)
        let read = try await Qcow2File(again).open()
        // Brings the table into the cache.
        _ = try await read.bytes(at: 0, count: 1)
        // Together first, then one after the other.
        again.setFaults([.calls(from: again.counts[.read, default: 0] + 1, of: .read, with: .ioError)])
        var bytes = content
        var span = bytes.mutableSpan
        var raw = span.mutableBytes
        do throws(TransferError) {
            try await read.read(pieces, into: &raw)
            Issue.record("no failure")
        } catch {
            #expect(error.index == 0 && error.underlying.errno == .ioError)
        }
    }
}
