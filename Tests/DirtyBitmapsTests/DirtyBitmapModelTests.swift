// SPDX-License-Identifier: GPL-2.0-or-later

import DirtyBitmaps
import TestSupport
import Testing

/// After any sequence of changes the bitmap answers every question as the naive model does.
@Suite struct DirtyBitmapModelTests {
    struct Shape: Sendable, CustomTestStringConvertible {
        let length: UInt64
        let granularity: UInt64
        let steps: Int
        var testDescription: String { "\(length) bytes at \(granularity)" }
    }

    static let shapes = [
        Shape(length: 1, granularity: 512, steps: 200),
        Shape(length: 512 * 64, granularity: 512, steps: 2000),
        Shape(length: 512 * 65 + 1, granularity: 512, steps: 1000),
        Shape(length: 65536 * 700 - 3000, granularity: 65536, steps: 600),
        // More than one page of 32768 granules.
        Shape(length: 512 * 100_000 + 77, granularity: 512, steps: 15),
        Shape(length: 4096 * 65536, granularity: 4096, steps: 15),
        Shape(length: 5 << 31, granularity: 2 << 30, steps: 200),
    ]

    @Test(arguments: shapes, [1, 2, 3] as [UInt64])
    func agreesWithTheModel(shape: Shape, seed: UInt64) throws {
        var random = SeededRandom(seed: seed)
        var bitmap = try DirtyBitmap(length: shape.length, granularity: shape.granularity)
        var model = NaiveBitmap(length: shape.length, granularity: shape.granularity)
        // Beyond the end too.
        let top = shape.length + shape.length / 4 + 1
        for _ in 0..<shape.steps {
            let start = UInt64.random(in: 0..<top, using: &random)
            // Short and long ranges equally often.
            let longest = Bool.random(using: &random) ? top : min(top, shape.granularity * 3)
            let range = start..<start + UInt64.random(in: 0...longest, using: &random)
            switch Int.random(in: 0..<20, using: &random) {
            case 0:
                bitmap.setAll()
                model.set(0..<shape.length)
            case 1:
                bitmap.resetAll()
                model.reset(0..<shape.length)
            case 2..<11:
                bitmap.set(range)
                model.set(range)
            default:
                bitmap.reset(range)
                model.reset(range)
            }
            #expect(bitmap.dirtyGranules == model.count)
            #expect(bitmap.isEmpty == (model.count == 0))
            for _ in 0..<4 {
                let from = UInt64.random(in: 0..<top, using: &random)
                let limit = Bool.random(using: &random) ? UInt64.max : UInt64.random(in: 0..<top, using: &random)
                #expect(bitmap.nextDirty(from: from, limit: limit) == model.next(true, from: from, limit: limit))
                #expect(bitmap.nextClean(from: from, limit: limit) == model.next(false, from: from, limit: limit))
                #expect(
                    bitmap.nextDirtyArea(from: from, limit: limit) == model.nextDirtyArea(from: from, limit: limit))
                #expect(bitmap.isDirty(at: from) == (model.next(true, from: from, limit: from + 1) != nil))
            }
        }
        let bits = model.bits.indices.map { bitmap.isDirty(at: UInt64($0) * shape.granularity) }
        #expect(bits == model.bits)
    }

    @Test(arguments: [512, 1024, 65536] as [UInt64], [512, 4096, 65536, 1 << 20] as [UInt64])
    func mergesOutwardAcrossGranularities(one: UInt64, other: UInt64) throws {
        let length: UInt64 = 3 << 20 | 700
        for seed in 0..<20 as Range<UInt64> {
            var random = SeededRandom(seed: seed)
            var target = try DirtyBitmap(length: length, granularity: one)
            var source = try DirtyBitmap(length: length, granularity: other)
            var targetModel = NaiveBitmap(length: length, granularity: one)
            var sourceModel = NaiveBitmap(length: length, granularity: other)
            for _ in 0..<10 {
                let start = UInt64.random(in: 0..<length, using: &random)
                let range = start..<start + UInt64.random(in: 1...200_000, using: &random)
                if Bool.random(using: &random) {
                    target.set(range)
                    targetModel.set(range)
                } else {
                    source.set(range)
                    sourceModel.set(range)
                }
            }
            let before = source.dirtyGranules
            try target.merge(source)
            targetModel.merge(sourceModel)
            #expect(source.dirtyGranules == before)
            let bits = targetModel.bits.indices.map { target.isDirty(at: UInt64($0) * one) }
            #expect(bits == targetModel.bits)
        }
    }
}
