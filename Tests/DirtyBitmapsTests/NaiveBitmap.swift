// SPDX-License-Identifier: GPL-2.0-or-later

/// What a dirty bitmap means, in the plainest way: one Bool for each granule, every question a loop.
struct NaiveBitmap {
    let length: UInt64
    let granularity: UInt64
    var bits: [Bool]

    init(length: UInt64, granularity: UInt64) {
        self.length = length
        self.granularity = granularity
        bits = Array(repeating: false, count: Int((length + granularity - 1) / granularity))
    }

    /// The bytes of one granule.
    func bytes(of index: Int) -> Range<UInt64> {
        let start = UInt64(index) * granularity
        return start..<min(start + granularity, length)
    }

    mutating func set(_ range: Range<UInt64>) {
        let range = range.clamped(to: 0..<length)
        guard !range.isEmpty else { return }
        let touched = range.lowerBound / granularity...(range.upperBound - 1) / granularity
        for index in bits.indices.clamped(to: Int(touched.lowerBound)..<Int(touched.upperBound) + 1) {
            bits[index] = true
        }
    }

    mutating func reset(_ range: Range<UInt64>) {
        for index in bits.indices {
            let bytes = bytes(of: index)
            if range.lowerBound <= bytes.lowerBound, range.upperBound >= bytes.upperBound { bits[index] = false }
        }
    }

    mutating func merge(_ other: NaiveBitmap) {
        for index in other.bits.indices where other.bits[index] { set(other.bytes(of: index)) }
    }

    func next(_ value: Bool, from start: UInt64, limit: UInt64) -> UInt64? {
        let end = min(limit, length)
        guard start < end else { return nil }
        for index in Int(start / granularity)..<bits.count where bits[index] == value {
            let offset = max(start, UInt64(index) * granularity)
            return offset < end ? offset : nil
        }
        return nil
    }

    func nextDirtyArea(from start: UInt64, limit: UInt64) -> Range<UInt64>? {
        guard let first = next(true, from: start, limit: limit) else { return nil }
        return first..<(next(false, from: first, limit: limit) ?? min(limit, length))
    }

    var count: UInt64 { UInt64(bits.count { $0 }) }
}
