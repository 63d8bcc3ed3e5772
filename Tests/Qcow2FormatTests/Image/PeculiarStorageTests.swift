// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import FormatTestSupport
import Glibc
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

/// Images on storage with ways of its own hold what was written and have no leaks.
@Suite struct PeculiarStorageTests {
    private static let kind: ImageCase = {
        var kind = ImageCase(clusterBits: 16)
        kind.sizeOverride = 4 << 20
        return kind
    }()

    /// The streams of a batch fill its buffer almost, and are padded to where the next batch may start. Narrow refcounts
    /// keep them from lying one behind the other.
    @Test(arguments: [4096, 16384, 65536, 1 << 20] as [UInt64], [1, 2]) func alignment(
        alignment: UInt64, refcountOrder: Int
    ) async throws {
        var random = SeededRandom(seed: alignment + UInt64(refcountOrder))
        let file = MemoryDevice(length: 0, preferredAlignment: alignment)
        var kind = Self.kind
        kind.refcountOrder = refcountOrder
        let image = try await Qcow2Image.create(kind.options, in: file)
        for _ in 0..<10 {
            // Streams that are about as long as the noise.
            let content = (0..<64).flatMap { _ in
                let noise = [1, 30, 60, 63, 63].randomElement(using: &random)! << 10
                return random.bytes(count: noise) + [UInt8](repeating: 0, count: 65536 - noise)
            }
            try await image.writeCompressed(at: 0, from: content.span.bytes)
            #expect(try await image.bytes(at: 0, count: content.count) == content)
        }
        try await image.close()
        #expect(ImageCheck(file.snapshot.allBytes).problems.isEmpty)
    }

    /// Room is asked for in large steps. Where only the step is too large, what is needed must do.
    @Test(arguments: [Errno.fileTooLarge, .noSpace, Errno(rawValue: EDQUOT)]) func growth(errno: Errno) async throws {
        let memory = MemoryDevice(length: 0)
        let file = FaultInjectingDevice(memory, faults: [.call(1, of: .resize, with: errno)])
        let model = try await ImageModel(Self.kind, in: file)
        try await model.write(0..<Self.kind.size)
        try await model.verify()
        try await model.close()
        #expect(ImageCheck(memory.snapshot.allBytes).problems.isEmpty)
    }

    @Test func noGrowth() async throws {
        let file = FaultInjectingDevice(
            MemoryDevice(length: 0), faults: [.calls(from: 1, of: .resize, with: .fileTooLarge)])
        await #expect {
            _ = try await Qcow2Image.create(Self.kind.options, in: file)
        } throws: { error in
            (error as? BlockError)?.errno == .fileTooLarge
        }
    }
}
