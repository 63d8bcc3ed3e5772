// SPDX-License-Identifier: GPL-2.0-or-later

/// A digest for some of many ranges, in little more memory than the digests take.
struct DigestTable: Sendable {
    /// Digests of neighbouring ranges, end to end in their order, without room for those that have none: few ranges of
    /// a large disk, far apart, must not take more memory than many.
    fileprivate struct Page: Sendable {
        /// The ranges that have one, one bit each.
        var known: SIMD4<UInt64> = .zero
        var digests: [UInt8] = []
    }

    /// Ranges of a page.
    private static let pageLength = 256

    let algorithm: DigestAlgorithm
    private var pages: [UInt64: Page] = [:]
    /// Number of ranges that have a digest.
    private(set) var count: UInt64 = 0

    init(_ algorithm: DigestAlgorithm) {
        self.algorithm = algorithm
    }

    private static func split(_ range: UInt64) -> (page: UInt64, index: Int) {
        // Below the page length, so it fits.
        (range / UInt64(pageLength), Int(range % UInt64(pageLength)))
    }

    subscript(range: UInt64) -> Digest? {
        get {
            let (number, index) = Self.split(range)
            guard let page = pages[number], page.isKnown(index) else { return nil }
            return Digest(bytes: page.digests.span.bytes.extracting(page.place(of: index, algorithm.length)))
        }
        set {
            let (number, index) = Self.split(range)
            if let newValue {
                if pages[number, default: Page()].set(newValue, at: index, algorithm.length) { count += 1 }
            } else if pages[number]?.remove(at: index, algorithm.length) == true {
                count -= 1
            }
        }
    }

    /// The first range from `start` on, and before `limit`, that has a digest.
    func next(from start: UInt64, limit: UInt64) -> UInt64? {
        guard count > 0, start < limit else { return nil }
        var (number, index) = Self.split(start)
        let near = number + Self.nearPages
        while number < near {
            if let range = first(inPage: number, from: index) { return range < limit ? range : nil }
            (number, index) = (number + 1, 0)
        }
        // A disk can be so large, by what it says, that nobody lives to see the next page come by.
        guard let far = pages.keys.lazy.filter({ $0 >= near && first(inPage: $0, from: 0) != nil }).min(),
            let range = first(inPage: far, from: 0)
        else { return nil }
        return range < limit ? range : nil
    }

    /// Pages to look for one by one before all are looked through.
    private static let nearPages: UInt64 = 64

    private func first(inPage number: UInt64, from index: Int) -> UInt64? {
        guard let run = pages[number]?.run(from: index) else { return nil }
        return number * UInt64(Self.pageLength) + UInt64(run.lowerBound)
    }

    /// Calls `body` with each stretch of ranges that have digests, in order, and with these, end to end. What is longer
    /// than a page comes in parts.
    func forEachRun<Failure>(
        _ body: (Range<UInt64>, ArraySlice<UInt8>) throws(Failure) -> Void
    ) throws(Failure) {
        for number in pages.keys.sorted() {
            guard let page = pages[number] else { continue }
            var index = 0
            while let run = page.run(from: index) {
                let first = number * UInt64(Self.pageLength) + UInt64(run.lowerBound)
                let start = page.rank(of: run.lowerBound) * algorithm.length
                let digests = page.digests[start..<start + run.count * algorithm.length]
                try body(first..<first + UInt64(run.count), digests)
                index = run.upperBound
            }
        }
    }
}

extension DigestTable.Page {
    fileprivate func isKnown(_ index: Int) -> Bool {
        known[index / 64] & (1 << UInt64(index % 64)) != 0
    }

    /// Number of digests before that of a range.
    fileprivate func rank(of index: Int) -> Int {
        let full = (0..<index / 64).reduce(0) { $0 + known[$1].nonzeroBitCount }
        return full + (known[index / 64] & ((1 << UInt64(index % 64)) - 1)).nonzeroBitCount
    }

    /// Where the digest of a range is, or would be.
    fileprivate func place(of index: Int, _ length: Int) -> Range<Int> {
        let rank = rank(of: index)
        return rank * length..<(rank + 1) * length
    }

    /// - Returns: whether there was none.
    fileprivate mutating func set(_ digest: Digest, at index: Int, _ length: Int) -> Bool {
        let place = place(of: index, length)
        let isNew = !isKnown(index)
        var bytes: [UInt8] = []
        digest.append(to: &bytes)
        digests.replaceSubrange(isNew ? place.lowerBound..<place.lowerBound : place, with: bytes)
        known[index / 64] |= 1 << UInt64(index % 64)
        return isNew
    }

    /// - Returns: whether there was one.
    fileprivate mutating func remove(at index: Int, _ length: Int) -> Bool {
        guard isKnown(index) else { return false }
        digests.removeSubrange(place(of: index, length))
        known[index / 64] &= ~(1 << UInt64(index % 64))
        return true
    }

    /// The next stretch of ranges that have digests.
    fileprivate func run(from start: Int) -> Range<Int>? {
        let end = 64 * known.scalarCount
        guard let first = (start..<max(start, end)).first(where: isKnown) else { return nil }
        return first..<((first..<end).first { !isKnown($0) } ?? end)
    }
}
