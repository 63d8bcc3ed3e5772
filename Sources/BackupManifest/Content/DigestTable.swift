// SPDX-License-Identifier: GPL-2.0-or-later

/// A digest for some of many ranges, in little more memory than the digests take.
struct DigestTable: Sendable {
    /// Digests of neighbouring ranges, stored end to end; room for those in between that have none.
    fileprivate struct Page: Sendable {
        var known: [UInt64]
        var digests: [UInt8]
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
            guard let page = pages[number], page.known[index / 64] & (1 << UInt64(index % 64)) != 0 else { return nil }
            return Digest(bytes: page.digests.span.bytes.extracting(place(of: index)))
        }
        set {
            let (number, index) = Self.split(range)
            let bit: UInt64 = 1 << UInt64(index % 64)
            guard let newValue else {
                guard let page = pages[number], page.known[index / 64] & bit != 0 else { return }
                pages[number]?.known[index / 64] &= ~bit
                count -= 1
                return
            }
            let (place, empty) = (place(of: index), emptyPage)
            if pages[number, default: empty].set(newValue, at: index, place) { count += 1 }
        }
    }

    private func place(of index: Int) -> Range<Int> {
        index * algorithm.length..<(index + 1) * algorithm.length
    }

    private var emptyPage: Page {
        Page(
            known: [UInt64](repeating: 0, count: Self.pageLength / 64),
            digests: [UInt8](repeating: 0, count: Self.pageLength * algorithm.length))
    }

    /// The first range from `start` on, and before `limit`, that has a digest.
    func next(from start: UInt64, limit: UInt64) -> UInt64? {
        guard count > 0, start < limit else { return nil }
        var (number, index) = Self.split(start)
        while number * UInt64(Self.pageLength) < limit {
            if let run = pages[number]?.run(from: index) {
                let range = number * UInt64(Self.pageLength) + UInt64(run.lowerBound)
                return range < limit ? range : nil
            }
            (number, index) = (number + 1, 0)
        }
        return nil
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
                let digests = page.digests[place(of: run.lowerBound).lowerBound..<place(of: run.upperBound).lowerBound]
                try body(first..<first + UInt64(run.count), digests)
                index = run.upperBound
            }
        }
    }
}

extension DigestTable.Page {
    /// - Returns: whether there was none.
    fileprivate mutating func set(_ digest: Digest, at index: Int, _ place: Range<Int>) -> Bool {
        let bit: UInt64 = 1 << UInt64(index % 64)
        let isNew = known[index / 64] & bit == 0
        known[index / 64] |= bit
        var bytes: [UInt8] = []
        digest.append(to: &bytes)
        digests.replaceSubrange(place, with: bytes)
        return isNew
    }

    /// The next stretch of ranges that have digests.
    fileprivate func run(from start: Int) -> Range<Int>? {
        func isKnown(_ index: Int) -> Bool { known[index / 64] & (1 << UInt64(index % 64)) != 0 }
        let end = 64 * known.count
        guard let first = (start..<max(start, end)).first(where: isKnown) else { return nil }
        return first..<((first..<end).first { !isKnown($0) } ?? end)
    }
}
