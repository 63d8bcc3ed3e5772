// SPDX-License-Identifier: GPL-2.0-or-later

/// A set of granule numbers below a capacity, as a tree in which a stretch of equal bits costs nothing.
///
/// Leaves are pages of 32768 bits; each level above has up to 512 children. A part whose bits are all equal is a single
/// value instead of a subtree. So the worst case costs one bit for each granule and little more, a bitmap that is all
/// set or all clear costs nothing, and searches step over equal stretches without looking inside.
enum BitmapTree {
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
        case .page(let page): page.assign(range, to: value)
        case .node(let node): node.assign(range, to: value)
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

    func copy() -> BitmapTree {
        switch self {
        case .uniform: self
        case .page(let page): .page(page.copy())
        case .node(let node): .node(node.copy())
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
