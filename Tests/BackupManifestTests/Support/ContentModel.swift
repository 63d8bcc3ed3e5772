// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import TestSupport
import Testing

@testable import BackupManifest

/// What digests of a disk must be, computed from all its bytes in the plainest way.
struct ContentModel {
    static let unitLength = 64 << 10
    static let rangeLength = 1 << 20

    var bytes: [UInt8]
    /// Numbers of the units that a backup holds.
    var held: Set<Int> = []

    init(length: Int) {
        bytes = [UInt8](repeating: 0, count: length)
    }

    var unitCount: Int { (bytes.count + Self.unitLength - 1) / Self.unitLength }
    var rangeCount: Int { (bytes.count + Self.rangeLength - 1) / Self.rangeLength }

    func bytes(ofUnit unit: Int) -> Range<Int> {
        unit * Self.unitLength..<min((unit + 1) * Self.unitLength, bytes.count)
    }

    /// Marks the units that a range of bytes touches.
    mutating func hold(_ range: Range<Int>) {
        guard !range.isEmpty else { return }
        held.formUnion(range.lowerBound / Self.unitLength...(range.upperBound - 1) / Self.unitLength)
    }

    private func digest(ofRange range: Int, _ algorithm: DigestAlgorithm) -> Digest? {
        let first = range * 16
        let units = (first..<first + 16).filter { held.contains($0) }
        let contents = units.map { Array(bytes[bytes(ofUnit: $0)]) }
        guard contents.contains(where: { !$0.span.bytes.isZero }) else { return nil }
        var text = ""
        for content in contents { text += algorithm.digest(of: content.span.bytes).description }
        let joined = Self.bytes(hexadecimal: text)
        return algorithm.digest(of: joined.span.bytes)
    }

    private static func bytes(hexadecimal text: String) -> [UInt8] {
        let digits = text.utf8.map { $0 < 58 ? $0 - 48 : $0 - 87 }
        return stride(from: 0, to: digits.count, by: 2).map { digits[$0] * 16 + digits[$0 + 1] }
    }

    /// Expects that digests are those of this content.
    ///
    /// - Parameter isWhole: whether the digests are of the whole disk.
    func expect(
        _ content: RecordedContent, isWhole: Bool, _ comment: Comment? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        #expect(content.dataRangeCount == (try await content.digests().dataRangeCount), sourceLocation: sourceLocation)
        try await expect(content.digests(), isWhole: isWhole, comment, sourceLocation: sourceLocation)
    }

    func expect(
        _ digests: ContentDigests, isWhole: Bool, _ comment: Comment? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        var model = self
        if isWhole { model.held = Set(0..<unitCount) }
        #expect(digests.isWhole == isWhole, comment, sourceLocation: sourceLocation)
        #expect(digests.geometry.virtualSize == UInt64(bytes.count), comment, sourceLocation: sourceLocation)
        #expect(digests.geometry.rangeCount == UInt64(rangeCount), comment, sourceLocation: sourceLocation)
        let heldLength = model.held.reduce(0) { $0 + min(65_536, bytes.count - $1 * 65_536) }
        #expect(digests.heldLength == UInt64(heldLength), comment, sourceLocation: sourceLocation)
        for range in 0..<rangeCount {
            let held = (0..<16).reduce(UInt16(0)) { model.held.contains(range * 16 + $1) ? $0 | 1 << UInt16($1) : $0 }
            #expect(
                try await digests.heldUnits(ofRange: UInt64(range)) == held, comment, sourceLocation: sourceLocation)
            let expected = model.digest(ofRange: range, digests.algorithm)
            #expect(
                try await digests.digest(ofRange: UInt64(range)) == expected, comment, sourceLocation: sourceLocation)
            let units = model.held.filter { $0 / 16 == range }
            let length = units.reduce(0) { $0 + min(65_536, bytes.count - $1 * 65_536) }
            #expect(
                try await digests.heldLength(ofRange: UInt64(range)) == UInt64(length), comment,
                sourceLocation: sourceLocation)
            let holders = Set(model.held.map { $0 / 16 })
            let next = holders.filter { $0 >= range }.min() ?? holders.min()
            #expect(
                try await digests.heldRange(from: UInt64(range)) == next.map(UInt64.init), comment,
                sourceLocation: sourceLocation)
        }
        let count = (0..<rangeCount).count { model.digest(ofRange: $0, digests.algorithm) != nil }
        #expect(digests.dataRangeCount == UInt64(count), comment, sourceLocation: sourceLocation)
    }

    /// The digests of a disk by one write of each held unit, in order.
    func recorded(_ algorithm: DigestAlgorithm, isWhole: Bool) async throws -> RecordedContent {
        let recorder = ContentRecorder(virtualSize: UInt64(bytes.count), algorithm: algorithm)
        for unit in isWhole ? Array(0..<unitCount) : held.sorted() {
            let range = bytes(ofUnit: unit)
            let content = Array(bytes[range])
            recorder.record(at: UInt64(range.lowerBound), content.span.bytes)
        }
        return try await recorder.finish(isWhole: isWhole, reading: MemoryDevice(bytes: bytes))
    }

    /// A disk of random data, zeroes and units that are not held.
    static func random(length: Int, _ random: inout SeededRandom) -> ContentModel {
        var model = ContentModel(length: length)
        for unit in 0..<model.unitCount {
            switch Int.random(in: 0...5, using: &random) {
            case 0, 1: continue
            case 2: model.held.insert(unit)
            default:
                model.held.insert(unit)
                let range = model.bytes(ofUnit: unit)
                let start = Int.random(in: range, using: &random)
                model.bytes[start] = UInt8.random(in: 1...255, using: &random)
            }
        }
        return model
    }
}
