// SPDX-License-Identifier: GPL-2.0-or-later

/// Elements that leave in the order in which they came. Both ends cost a constant time on average, and no allocation
/// once it was as long as it gets.
///
/// Two stacks: what comes is put on one. When the other is empty, the first is turned round to become it.
struct FIFOQueue<Element> {
    /// The latest is last.
    private var incoming: [Element] = []
    /// The earliest is last.
    private var outgoing: [Element] = []

    var isEmpty: Bool { incoming.isEmpty && outgoing.isEmpty }

    var count: Int { incoming.count + outgoing.count }

    /// The one that leaves next.
    var first: Element? { outgoing.last ?? incoming.first }

    mutating func append(_ element: Element) {
        incoming.append(element)
    }

    mutating func popFirst() -> Element? {
        if outgoing.isEmpty {
            swap(&incoming, &outgoing)
            outgoing.reverse()
        }
        return outgoing.popLast()
    }
}
