// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import TestSupport
import Testing

@testable import BackupManifest

/// A document whose digests are in its own file while it is written, and one that changes after it was opened.
@Suite struct ScratchDocumentTests {
    @Test(arguments: DigestAlgorithm.allCases, [1, 3, 300])
    func sameBytes(algorithm: DigestAlgorithm, ranges: Int) async throws {
        var random = SeededRandom(seed: 4)
        let length = UInt64(ranges) << 20
        let file = MemoryDevice(length: 0)
        let cramped = ContentRecorder(
            virtualSize: length, algorithm: algorithm, scratch: file, limits: .init(digests: 64, pending: 4))
        let roomy = ContentRecorder(virtualSize: length, algorithm: algorithm)
        let target = MemoryDevice(length: length)
        let device = RecordingDevice(target, cramped)
        for range in (0..<ranges).shuffled(using: &random) where range % 7 != 3 {
            let content = [UInt8](repeating: UInt8(range & 255) | 1, count: 65_536)
            try await device.write(at: UInt64(range) << 20, from: content.span.bytes)
            roomy.record(at: UInt64(range) << 20, content.span.bytes)
        }
        let plain = try await roomy.finish(isWhole: false, reading: target)
        let content = try await cramped.finish(isWhole: false, reading: target)
        var header = try await ManifestTests.make().header
        let summary = try await content.summary()
        (header.virtualSize, header.digest) = (length, algorithm.rawValue)
        (header.content, header.bodyLength) = (summary.root.description, summary.bodyLength)
        #expect(ranges < 300 || cramped.scratchLength > 0)
        let bytes = try await Document(header: header, content: content)
            .encoded(in: file, scratchLength: cramped.scratchLength)
        #expect(try await bytes == Document(header: header, content: plain).encoded())
        _ = try await Manifest(decoding: bytes)
    }

    /// Digests that come back from the file otherwise than they were put there make no manifest.
    @Test func changedMeanwhile() async throws {
        let length = UInt64(300) << 20
        let file = MemoryDevice(length: 0)
        let recorder = ContentRecorder(
            virtualSize: length, algorithm: .xxh3, scratch: file, limits: .init(digests: 64, pending: 4))
        let target = MemoryDevice(length: length)
        let device = RecordingDevice(target, recorder)
        for range in 0..<300 as Range<UInt64> {
            try await device.write(at: range << 20, from: [UInt8](repeating: 7, count: 65_536).span.bytes)
        }
        let content = try await recorder.finish(isWhole: false, reading: target)
        let summary = try await content.summary()
        var header = try await ManifestTests.make().header
        (header.virtualSize, header.digest) = (length, DigestAlgorithm.xxh3.rawValue)
        (header.content, header.bodyLength) = (summary.root.description, summary.bodyLength)
        let document = Document(header: header, content: content)
        #expect(recorder.scratchLength > 0)
        file.flip(bit: 2, at: recorder.scratchLength / 2)
        do {
            _ = try await document.encoded(in: file, scratchLength: recorder.scratchLength)
            Issue.record("a manifest was written")
        } catch BlockError.layer(let error) {
            #expect(error is ReadBackError)
        }
    }

    /// Each part of the body is read again when it is asked for: other bytes than those that were sealed don't count.
    @Test(arguments: [false, true]) func changedAfterwards(isWhole: Bool) async throws {
        let document = try await ManifestTests.make(isWhole: isWhole)
        let bytes = try await document.encoded()
        let body = Int(document.header.bodyLength)
        for offset in bytes.count - 16 - body..<bytes.count - 16 {
            let file = MemoryDevice(bytes: bytes)
            let digests = try await Manifest(reading: file).digests
            file.flip(bit: 0, at: UInt64(offset))
            var failures = 0
            for range in 0..<digests.geometry.rangeCount {
                do {
                    _ = try await (digests.heldUnits(ofRange: range), digests.digest(ofRange: range))
                } catch {
                    failures += 1
                }
            }
            // All that was kept in memory is what was sealed.
            #expect(failures > 0 || isWhole == false, "byte \(offset)")
        }
    }

    /// Memory does not grow with what a small document claims.
    @Test func claims() async throws {
        let virtualSize = UInt64(Int64.max)
        // Stretches of one unit, each so far from the next that all are in other pages of any table.
        var body: [UInt8] = []
        for _ in 0..<100_000 { body += ContentDigests.number(1 << 20) + [1] }
        body += [0, 0, 0, 0]
        let digests = try #require(
            try await ContentDigests(decoding: body, algorithm: .xxh3, virtualSize: virtualSize, isWhole: false))
        #expect(digests.heldLength == 100_000 << 16)
        #expect(try await digests.heldRange(from: 0) == 1 << 16)
        #expect(try await digests.heldUnits(ofRange: 1 << 16) == 1)
        #expect(digests.layer?.pieceCount ?? .max < 20)
    }
}
