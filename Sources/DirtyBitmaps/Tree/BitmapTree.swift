// SPDX-License-Identifier: GPL-2.0-or-later

/// A set of granule numbers below a capacity, as a tree in which a stretch of equal bits costs nothing.
///
/// Leaves are pages of 32768 bits; each level above has up to 512 children. A part whose bits are all equal is a single
/// value instead of a subtree. So the worst case costs one bit for each granule and little more, a bitmap that is all
/// set or all clear costs nothing, and searches step over equal stretches without looking inside.
///
/// A copy shares the subtrees until one of the two changes: a node or page that has several owners is never changed.
enum BitmapTree: Sendable {
    case uniform(Bool)
    case page(BitmapPage)
    case node(BitmapNode)

    func contains(_ index: UInt64) -> Bool {
        switch self {
        case .uniform(let value): value
        case .page(let page): page.contains(index)
        case .node(let node): node.contains(index)
        }
    }

    /// Number of set granules, in a tree of `capacity` granules.
    func count(capacity: UInt64) -> UInt64 {
        switch self {
        case .uniform(let value): value ? capacity : 0
        case .page(let page): page.count
        case .node(let node): node.count
        }
    }

    /// Gives every granule of `range`, which is not empty, one value.
    ///
    /// - Parameter capacity: number of granules in this tree.
    mutating func assign(_ range: Range<UInt64>, to value: Bool, capacity: UInt64) {
        if range.lowerBound == 0, range.upperBound == capacity {
            self = .uniform(value)
            return
        }
        if case .uniform(let present) = self {
            if present == value { return }
            self = Self.branch(capacity: capacity, filledWith: present)
        }
        switch self {
        case .uniform: break
        case .page(var page):
            // While it is here it is not also there, so that it is not taken for shared.
            self = .uniform(value)
            if !isKnownUniquelyReferenced(&page) { page = page.copy() }
            page.assign(range, to: value)
            self = .page(page)
        case .node(var node):
            self = .uniform(value)
            if !isKnownUniquelyReferenced(&node) { node = node.copy() }
            node.assign(range, to: value)
            self = .node(node)
        }
        let count = count(capacity: capacity)
        if count == 0 || count == capacity { self = .uniform(count != 0) }
    }

    /// The first granule from `start` on whose bit is `value`.
    func next(_ value: Bool, from start: UInt64, capacity: UInt64) -> UInt64? {
        guard start < capacity else { return nil }
        return switch self {
        case .uniform(let present): present == value ? start : nil
        case .page(let page): page.next(value, from: start)
        case .node(let node): node.next(value, from: start)
        }
    }

    /// Adds the granules of a tree of the same capacity.
    mutating func formUnion(_ other: BitmapTree, capacity: UInt64) {
        switch (self, other) {
        case (_, .uniform(false)), (.uniform(true), _): return
        case (.uniform(false), _), (_, .uniform(true)): self = other
        case (.page(var page), .page(let theirs)):
            self = .uniform(false)
            if !isKnownUniquelyReferenced(&page) { page = page.copy() }
            page.formUnion(theirs)
            self = .page(page)
        case (.node(var node), .node(let theirs)):
            self = .uniform(false)
            if !isKnownUniquelyReferenced(&node) { node = node.copy() }
            node.formUnion(theirs)
            self = .node(node)
        case (.page, .node), (.node, .page): preconditionFailure("trees of one capacity have one shape")
        }
        if count(capacity: capacity) == capacity { self = .uniform(true) }
    }

    /// Memory in bytes below this one.
    var memoryUse: Int {
        switch self {
        case .uniform: 0
        case .page(let page): page.memoryUse
        case .node(let node): node.memoryUse
        }
    }

    private static func branch(capacity: UInt64, filledWith value: Bool) -> BitmapTree {
        if capacity <= 1 << BitmapPage.spanBits {
            .page(BitmapPage(capacity: capacity, filledWith: value))
        } else {
            .node(BitmapNode(capacity: capacity, filledWith: value))
        }
    }
}

// MARK: Bits as they are stored

extension BitmapTree {
    /// Replaces the bits of granules that lie in one page.
    ///
    /// - Parameters:
    ///   - range: not empty; starts at a multiple of 64.
    ///   - bits: 8 granules to a byte, the lowest bit first.
    mutating func replaceBits(_ range: Range<UInt64>, with bits: RawSpan, capacity: UInt64) {
        if case .uniform(let present) = self {
            self = Self.branch(capacity: capacity, filledWith: present)
        }
        switch self {
        case .uniform: break
        case .page(var page):
            // As in `assign`, so that it is not taken for shared.
            self = .uniform(false)
            if !isKnownUniquelyReferenced(&page) { page = page.copy() }
            page.replaceBits(range, with: bits)
            self = .page(page)
        case .node(var node):
            self = .uniform(false)
            if !isKnownUniquelyReferenced(&node) { node = node.copy() }
            node.replaceBits(range, with: bits)
            self = .node(node)
        }
        let count = count(capacity: capacity)
        if count == 0 || count == capacity { self = .uniform(count != 0) }
    }

    /// Copies the bits of granules that lie in one page to a byte offset of a buffer that is zero there.
    func copyBits(_ range: Range<UInt64>, into bits: inout MutableRawSpan, at offset: Int, capacity: UInt64) {
        switch self {
        case .uniform(false): break
        case .uniform(true):
            BitmapPage(capacity: UInt64(range.count), filledWith: true)
                .copyBits(0..<UInt64(range.count), into: &bits, at: offset)
        case .page(let page): page.copyBits(range, into: &bits, at: offset)
        case .node(let node): node.copyBits(range, into: &bits, at: offset)
        }
    }
}
