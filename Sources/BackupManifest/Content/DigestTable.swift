// SPDX-License-Identifier: GPL-2.0-or-later

/// Digests of some of many ranges, in little more memory than they take.
struct DigestTable: Sendable {
    /// Digests of neighbouring ranges, end to end in their order, without room for those that have none: few ranges of
    /// a large disk, far apart, must not take more memory than many.
    struct Page: Sendable {
        /// The ranges that have one, one bit each.
        private(set) var known: SIMD4<UInt64> = .zero
        private(set) var digests: [UInt8] = []
    }

    /// Ranges of a page.
    static let pageLength: UInt64 = 256

    let algorithm: DigestAlgorithm
    private var pages: [UInt64: Page] = [:]
    /// The pages in the order in which they began.
    private var order: [UInt64] = []
    /// Bytes of all digests.
    private(set) var byteCount = 0

    init(_ algorithm: DigestAlgorithm) {
        self.algorithm = algorithm
    }

    /// The digest of a range.
    subscript(range: UInt64) -> Digest? {
        let page = pages[range / Self.pageLength]
        return page?.bytes(of: Int(range % Self.pageLength), algorithm.length).map { Digest(bytes: $0.span.bytes) }
    }

    mutating func set(_ digest: Digest, ofRange range: UInt64) {
        let number = range / Self.pageLength
        if pages[number] == nil { order.append(number) }
        let isNew = pages[number, default: Page()].set(digest, at: Int(range % Self.pageLength), algorithm.length)
        if isNew { byteCount += algorithm.length }
    }

    subscript(page number: UInt64) -> Page? { pages[number] }

    /// Takes the oldest pages out, about half of all.
    mutating func takeOldest() -> [UInt64: Page] {
        var taken: [UInt64: Page] = [:]
        for number in order.prefix(order.count / 2 + 1) {
            taken[number] = pages.removeValue(forKey: number)
            byteCount -= taken[number]?.digests.count ?? 0
        }
        order.removeFirst(order.count / 2 + min(order.count, 1))
        return taken
    }

    /// Puts pages back that were taken out. What has been set meanwhile is newer.
    mutating func putBack(_ taken: [UInt64: Page]) {
        for (number, page) in taken {
            page.forEach(algorithm.length) { index, bytes in
                let range = number * Self.pageLength + UInt64(index)
                if self[range] == nil { set(Digest(bytes: bytes.span.bytes), ofRange: range) }
            }
        }
    }
}

extension DigestTable.Page {
    private func isKnown(_ index: Int) -> Bool {
        known[index / 64] & (1 << UInt64(index % 64)) != 0
    }

    /// Where the digest of a range is, or would be.
    private func place(of index: Int, _ length: Int) -> Range<Int> {
        let full = (0..<index / 64).reduce(0) { $0 + known[$1].nonzeroBitCount }
        let rank = full + (known[index / 64] & ((1 << UInt64(index % 64)) - 1)).nonzeroBitCount
        return rank * length..<(rank + 1) * length
    }

    /// - Returns: `nil` where the range has none.
    func bytes(of index: Int, _ length: Int) -> [UInt8]? {
        isKnown(index) ? Array(digests[place(of: index, length)]) : nil
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

    /// Calls `body` with each range that has a digest, by its place in the page, in order.
    func forEach(_ length: Int, _ body: (Int, ArraySlice<UInt8>) -> Void) {
        var start = 0
        for index in 0..<Int(DigestTable.pageLength) where isKnown(index) {
            body(index, digests[start..<start + length])
            start += length
        }
    }
}
