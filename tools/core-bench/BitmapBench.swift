// SPDX-License-Identifier: GPL-2.0-or-later

import DirtyBitmaps
import Foundation

/// How fast dirty bitmaps of 64 KiB granules are.
struct BitmapBench {
    private static let granularity: UInt64 = 65536
    private static let marks = 1_000_000

    let length: UInt64

    func run() throws {
        var bitmap = try DirtyBitmap(length: length, granularity: Self.granularity)
        let name = "\(length >> 40) TiB / 64 KiB"
        let scan = timed { if bitmap.nextDirty(from: 0) != nil { fatalError("a new bitmap is clean") } }
        CoreBench.row("\(name): scan of a clean bitmap", String(format: "%.1f µs", scan * 1e6))

        var random = SystemRandomNumberGenerator()
        let granules = length / Self.granularity
        let places = (0..<Self.marks).map { _ in UInt64.random(in: 0..<granules, using: &random) * Self.granularity }
        let set = timed { for place in places { bitmap.set(place..<place + 4096) } }
        CoreBench.row("\(name): set, at random", rate(set))
        var count = 0
        let iterate = timed {
            var position: UInt64 = 0
            while let area = bitmap.nextDirtyArea(from: position) {
                count += 1
                position = area.upperBound
            }
        }
        CoreBench.row(
            "\(name): iterate over \(count) dirty areas",
            String(format: "%.1f million/s", Double(count) / iterate / 1e6))
        CoreBench.row("\(name): memory with a million random marks", "\(bitmap.memoryUse >> 10) KiB")
        let reset = timed { for place in places { bitmap.reset(place..<place + Self.granularity) } }
        CoreBench.row("\(name): clear, at random", rate(reset))
        let all = timed { bitmap.setAll() }
        CoreBench.row("\(name): set everything", String(format: "%.1f µs", all * 1e6))
    }

    private func rate(_ seconds: Double) -> String {
        String(format: "%.1f million/s", Double(Self.marks) / seconds / 1e6)
    }

    private func timed(_ body: () -> Void) -> Double {
        let start = ContinuousClock.now
        body()
        return (ContinuousClock.now - start).seconds
    }
}
