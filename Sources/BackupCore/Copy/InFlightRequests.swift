// SPDX-License-Identifier: GPL-2.0-or-later

/// The ranges that are being copied now, and who waits for one of them to end.
///
/// Not locked: part of the state that its owner guards. Continuations are handed out to be resumed outside the lock.
/// The list is as long as there are workers and guest writes in flight, so that a search is a short loop.
struct InFlightRequests {
    typealias Waiter = CheckedContinuation<Void, Never>

    private struct Entry {
        let id: UInt64
        var range: Range<UInt64>
        var waiters: [Waiter] = []
    }

    private var entries: [Entry] = []
    private var nextID: UInt64 = 0

    var isEmpty: Bool {
        entries.isEmpty
    }

    /// Any request, to wait for.
    var first: UInt64? {
        entries.first?.id
    }

    /// Registers a range that overlaps no other.
    mutating func add(_ range: Range<UInt64>) -> UInt64 {
        nextID += 1
        entries.append(Entry(id: nextID, range: range))
        return nextID
    }

    /// A request that overlaps `range`, to wait for.
    func overlapping(_ range: Range<UInt64>) -> UInt64? {
        entries.first { $0.range.overlaps(range) }?.id
    }

    /// Moves the end of a request's range.
    mutating func extend(_ id: UInt64, to end: UInt64) {
        guard let index = entries.firstIndex(where: { $0.id == id }) else { return }
        entries[index].range = entries[index].range.lowerBound..<end
    }

    /// Lets `waiter` be resumed when the request ends. False where it has ended already.
    mutating func wait(for id: UInt64, _ waiter: Waiter) -> Bool {
        guard let index = entries.firstIndex(where: { $0.id == id }) else { return false }
        entries[index].waiters.append(waiter)
        return true
    }

    /// Removes a request and returns those who waited for it.
    mutating func remove(_ id: UInt64) -> [Waiter] {
        guard let index = entries.firstIndex(where: { $0.id == id }) else { return [] }
        return entries.remove(at: index).waiters
    }
}
