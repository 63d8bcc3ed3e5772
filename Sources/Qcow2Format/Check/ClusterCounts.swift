// SPDX-License-Identifier: GPL-2.0-or-later

/// How often clusters were named. Memory grows with the number of different ones, 16 bytes for each.
struct ClusterCounts: Sendable {
    private struct Entry {
        let cluster: UInt64
        var count: UInt64
    }

    private static let smallestLimit = 1 << 12
    private var entries: [Entry] = []
    /// Entries before it is looked which are the same.
    private var limit = smallestLimit

    mutating func add(_ cluster: UInt64) {
        entries.append(Entry(cluster: cluster, count: 1))
        guard entries.count >= limit else { return }
        compact()
        limit = max(entries.count * 2, Self.smallestLimit)
    }

    private mutating func compact() {
        entries.sort { $0.cluster < $1.cluster }
        var end = 0
        for index in entries.indices {
            if end > 0, entries[end - 1].cluster == entries[index].cluster {
                entries[end - 1].count &+= entries[index].count
            } else {
                entries[end] = entries[index]
                end += 1
            }
        }
        entries.removeLast(entries.count - end)
    }

    /// Calls `body` with clusters and how often they were named; with a cluster more than once where that was not added up.
    func forEach(_ body: (UInt64, UInt64) -> Void) {
        for entry in entries { body(entry.cluster, entry.count) }
    }
}
