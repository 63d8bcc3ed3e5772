// SPDX-License-Identifier: GPL-2.0-or-later

/// Elements that leave in the order in which they came.
///
/// Taken elements stay as gaps at the front until they are half of the storage, so that neither a queue that drains
/// nor one that never does moves or holds more than twice what it has to.
struct FIFOQueue<Element> {
    private var storage: [Element?] = []
    /// Index of the next element to leave; the ones before it are gaps.
    private var head = 0

    /// Number of elements.
    var count: Int { storage.count - head }

    mutating func append(_ element: Element) {
        storage.append(element)
    }

    /// The oldest element; `nil` where there is none.
    var first: Element? { head < storage.count ? storage[head] : nil }

    /// Takes the oldest element; `nil` where there is none.
    ///
    /// - Complexity: O(1) on average.
    mutating func popFirst() -> Element? {
        guard head < storage.count else { return nil }
        let element = storage[head].take()
        head += 1
        if head == storage.count {
            storage.removeAll(keepingCapacity: true)
            head = 0
        } else if head >= 64, head >= storage.count / 2 {
            storage.removeSubrange(..<head)
            head = 0
        }
        return element
    }
}
