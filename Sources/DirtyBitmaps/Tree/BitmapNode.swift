// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// An inner node of a bitmap tree.
final class BitmapNode: @unchecked Sendable {
    // Unchecked: changed only by its one owner.

    /// Log2 of the most children that a node has.
    private static let fanOutBits: UInt64 = 9

    /// Number of granules below this node.
    let capacity: UInt64
    /// Number of granules below this node that are set.
    private(set) var count: UInt64
    /// Log2 of the granules in each child but the last, which may have fewer.
    private let childBits: UInt64
    private(set) var children: [BitmapTree]

    init(capacity: UInt64, filledWith value: Bool) {
        var childBits = BitmapPage.spanBits
        while (capacity - 1) >> childBits >= 1 << Self.fanOutBits {
            childBits += Self.fanOutBits
        }
        self.capacity = capacity
        self.childBits = childBits
        count = value ? capacity : 0
        children = [BitmapTree](
            repeating: .uniform(value), count: Int(capacity.dividedRoundingUp(by: 1 << childBits)))
    }

    func copy() -> BitmapNode {
        BitmapNode(copying: self)
    }

    private init(copying other: BitmapNode) {
        capacity = other.capacity
        count = other.count
        childBits = other.childBits
        children = other.children
    }

    private func childCapacity(_ index: Int) -> UInt64 {
        min(1 << childBits, capacity - UInt64(index) << childBits)
    }

    /// Bytes that an object and an array take beside what they hold: two headers, counts, a reference.
    private static let overhead = 112

    var memoryUse: Int {
        children.reduce(children.capacity * MemoryLayout<BitmapTree>.stride + Self.overhead) { $0 + $1.memoryUse }
    }

    func contains(_ index: UInt64) -> Bool {
        children[Int(index >> childBits)].contains(index & (1 << childBits - 1))
    }

    /// Gives every granule of `range`, which is not empty, one value.
    func assign(_ range: Range<UInt64>, to value: Bool) {
        let first = Int(range.lowerBound >> childBits)
        let last = Int((range.upperBound - 1) >> childBits)
        for index in first...last {
            let start = UInt64(index) << childBits
            let capacity = childCapacity(index)
            let part = max(range.lowerBound, start) - start..<min(range.upperBound - start, capacity)
            let before = children[index].count(capacity: capacity)
            children[index].assign(part, to: value, capacity: capacity)
            count = count - before + children[index].count(capacity: capacity)
        }
    }

    /// Adds the granules of a node of the same capacity.
    func formUnion(_ other: BitmapNode) {
        for index in children.indices {
            let capacity = childCapacity(index)
            let before = children[index].count(capacity: capacity)
            children[index].formUnion(other.children[index], capacity: capacity)
            count = count - before + children[index].count(capacity: capacity)
        }
    }

    /// The first granule from `start` on, which is below the capacity, whose bit is `value`.
    func next(_ value: Bool, from start: UInt64) -> UInt64? {
        var index = Int(start >> childBits)
        var startInChild = start & (1 << childBits - 1)
        while index < children.count {
            if let found = children[index].next(value, from: startInChild, capacity: childCapacity(index)) {
                return UInt64(index) << childBits + found
            }
            index += 1
            startInChild = 0
        }
        return nil
    }

    // MARK: Bits as they are stored

    /// Replaces the bits of granules that lie in one page, and so in one child.
    func replaceBits(_ range: Range<UInt64>, with bits: RawSpan) {
        let index = Int(range.lowerBound >> childBits)
        let start = UInt64(index) << childBits
        let capacity = childCapacity(index)
        let before = children[index].count(capacity: capacity)
        children[index].replaceBits(
            range.lowerBound - start..<range.upperBound - start, with: bits, capacity: capacity)
        count = count - before + children[index].count(capacity: capacity)
    }

    func copyBits(_ range: Range<UInt64>, into bits: inout MutableRawSpan, at offset: Int) {
        let index = Int(range.lowerBound >> childBits)
        let start = UInt64(index) << childBits
        children[index].copyBits(
            range.lowerBound - start..<range.upperBound - start, into: &bits, at: offset,
            capacity: childCapacity(index))
    }
}
