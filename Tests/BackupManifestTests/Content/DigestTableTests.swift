// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage
import TestSupport
import Testing

@testable import BackupManifest

/// Digests in memory and in the scratch file: whichever holds one, and however often it was moved, the last one counts.
@Suite struct DigestTableTests {
    private static func digest(_ number: UInt64) -> Digest {
        let bytes = withUnsafeBytes(of: number) { [UInt8]($0) }
        return DigestAlgorithm.xxh3.digest(of: bytes.span.bytes)
    }

    @Test(arguments: [0, 1, 255, 256, 64 << 8, 1 << 43] as [UInt64])
    func places(place: UInt64) {
        var table = DigestTable(.xxh3)
        table.set(Self.digest(1), ofRange: place)
        table.set(Self.digest(2), ofRange: place + 3)
        table.set(Self.digest(3), ofRange: place)
        #expect(table[place] == Self.digest(3) && table[place + 3] == Self.digest(2) && table[place + 1] == nil)
        #expect(table.byteCount == 32)
    }

    @Test func oldestFirst() {
        var table = DigestTable(.xxh3)
        for page in [5, 1, 9] as [UInt64] { table.set(Self.digest(page), ofRange: page * 256) }
        let taken = table.takeOldest()
        #expect(Set(taken.keys) == [5, 1] && table.byteCount == 16)
        #expect(table[5 * 256] == nil && table[9 * 256] == Self.digest(9))
        // What has come meanwhile is newer than what is put back.
        table.set(Self.digest(7), ofRange: 5 * 256)
        table.putBack(taken)
        #expect(table[5 * 256] == Self.digest(7) && table[256] == Self.digest(1) && table.byteCount == 48)
        while table.byteCount > 0 { _ = table.takeOldest() }
        #expect(table.takeOldest().isEmpty)
    }

    @Test func scratch() async throws {
        let file = MemoryDevice(length: 0)
        let scratch = DigestScratch(file, .xxh3)
        var table = DigestTable(.xxh3)
        var expected: [UInt64: Digest] = [:]
        var random = SeededRandom(seed: 2)
        for round in 0..<200 as Range<UInt64> {
            let range = UInt64.random(in: 0..<3000, using: &random)
            table.set(Self.digest(round), ofRange: range)
            expected[range] = Self.digest(round)
            if round % 20 == 19 { try await scratch.write(table.takeOldest()) }
        }
        while table.byteCount > 0 { try await scratch.write(table.takeOldest()) }
        #expect(scratch.length == 12 * 4096 && file.length == scratch.length)
        for (range, digest) in expected {
            let page = try #require(try await scratch.read(range / 256))
            let start = Int(range % 256) * 16
            #expect(Digest(bytes: page.span.bytes.extracting(start..<start + 16)) == digest)
        }
        #expect(try await scratch.read(12) == nil)
    }

    /// A scratch file that can't be written fails the write that it is for; once it can be, nothing is lost.
    @Test func fullDisk() async throws {
        let scratch = FaultInjectingDevice(MemoryDevice(length: 0), faults: [.call(1, of: .write)])
        let recorder = ContentRecorder(
            virtualSize: 8 << 20, algorithm: .xxh3, scratch: scratch, limits: .init(digests: 32, pending: 2))
        let target = MemoryDevice(length: 8 << 20)
        let device = RecordingDevice(target, recorder)
        var model = ContentModel(length: 8 << 20)
        var failures = 0
        for range in 0..<8 {
            let content = [UInt8](repeating: UInt8(range + 1), count: 1 << 20)
            model.bytes.replaceSubrange(range << 20..<(range + 1) << 20, with: content)
            do {
                try await device.write(at: UInt64(range) << 20, from: content.span.bytes)
            } catch {
                failures += 1
                // As a job does that goes on.
                try await device.write(at: UInt64(range) << 20, from: content.span.bytes)
            }
        }
        #expect(failures == 1)
        let content = try await recorder.finish(isWhole: true, reading: target)
        try await model.expect(content, isWhole: true)
    }
}
