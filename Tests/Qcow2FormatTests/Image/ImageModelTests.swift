// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import FormatTestSupport
import Qcow2Format
import TestSupport
import Testing

/// An image that is written to in all ways at random always reads as a plain array of bytes does.
@Suite struct ImageModelTests {
    static let cases = ImageCase.crossProduct(
        orders: { isHeavyRun ? [$0 % 7, ($0 + 3) % 7, ($0 + 5) % 7] : [$0 % 7] }, round: 1)

    @Test(arguments: cases) func randomChanges(kind: ImageCase) async throws {
        let model = try await ImageModel(kind)
        try await model.verify()
        for _ in 0..<(kind.clusterBits > 18 ? 30 : isHeavyRun ? 160 : 60) {
            try await model.step()
        }
        try await model.verify()
        try await model.checkStatus(0..<kind.size)
        try await model.reopen()
        try await model.verify()
        try await model.checkStatus(0..<kind.size)
        try await model.close()
        let problems = ImageCheck((model.file as! MemoryDevice).snapshot.allBytes).problems
        #expect(problems.isEmpty, "\(kind): \(problems.prefix(5)); \(model.log.suffix(50))")
    }

    /// Tasks that write to ranges of their own, which share clusters.
    @Test(arguments: [9, 12, 16], [false, true]) func concurrentWriters(clusterBits: Int, hasBacking: Bool) async throws
    {
        var kind = ImageCase(clusterBits: clusterBits)
        kind.backing = hasBacking ? .shorter : .none
        kind.hasExtendedL2 = clusterBits == 16
        let model = try await ImageModel(kind)
        let (image, size) = (model.image, kind.size)
        let parts = await withTaskGroup(of: [UInt64: [UInt8]].self) { group in
            for task: UInt64 in 0..<6 {
                group.addTask { await Self.writeOwnRanges(of: image, size: size, task: task) }
            }
            return await group.reduce(into: [:]) { $0.merge($1) { $1 } }
        }
        for (start, bytes) in parts {
            model.expected.replaceSubrange(Int(start)..<Int(start) + bytes.count, with: bytes)
        }
        try await model.verify()
        try await model.reopen()
        try await model.verify()
        try await model.close()
        #expect(ImageCheck((model.file as! MemoryDevice).snapshot.allBytes).problems.isEmpty)
    }

    /// Every sixth piece of 700 bytes belongs to a task. What it has written is never changed by the others.
    private static func writeOwnRanges(of image: Qcow2Image, size: UInt64, task: UInt64) async -> [UInt64: [UInt8]] {
        let piece: UInt64 = 700
        var random = SeededRandom(seed: task)
        var written: [UInt64: [UInt8]] = [:]
        for _ in 0..<(isHeavyRun ? 600 : 100) {
            let start = (UInt64.random(in: 0..<size / piece / 6, using: &random) * 6 + task) * piece
            let count = Int(min(piece, size - start))
            let isZero = Bool.random(using: &random)
            let bytes =
                isZero ? [UInt8](repeating: 0, count: count) : ImageModel.noise(count: count, from: Int(start))
            await #expect(throws: Never.self) {
                if isZero {
                    try await image.writeZeroes(at: start, length: UInt64(count))
                } else {
                    try await image.write(at: start, bytes: bytes)
                }
            }
            written[start] = bytes
            let (place, wanted) = written.randomElement(using: &random)!
            let read = try? await image.bytes(at: place, count: wanted.count)
            #expect(read == wanted)
        }
        return written
    }
}
