// SPDX-License-Identifier: GPL-2.0-or-later

/// Costly things that requests use one at a time and then leave for the next: buffers, compressors.
///
/// There are never more of them than there were requests at once.
package final class Pool<Item: ~Copyable & Sendable>: Sendable {
    /// Arrays hold only what can be copied.
    private final class Box: @unchecked Sendable {
        // Unchecked: a box is in the list, or in the hands of one caller.
        var item: Item?

        init(_ item: consuming Item) {
            self.item = consume item
        }
    }

    private let free = Locked<[Box]>([])

    package init() {}

    /// An item for exclusive use, made where none is free. Give it back with `put`, or drop it after an error.
    package func take<Failure: Error>(orMake make: () throws(Failure) -> Item) throws(Failure) -> Item {
        if let box = free.withLock({ $0.popLast() }) { return box.item.take()! }
        return try make()
    }

    package func put(_ item: consuming Item) {
        let box = Box(item)
        free.withLock { $0.append(box) }
    }
}
