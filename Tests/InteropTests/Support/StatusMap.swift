// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import TestSupport

/// Block status in the form of `qemu-img map`, with equal neighbours merged, so that only what differs differs.
struct StatusMap: Equatable, CustomStringConvertible {
    private(set) var entries: [FixtureFacts.MapEntry] = []

    init(_ entries: [FixtureFacts.MapEntry]) {
        for entry in entries { append(entry) }
    }

    init(_ extents: [BlockExtent]) {
        var position: UInt64 = 0
        for extent in extents {
            append(
                FixtureFacts.MapEntry(
                    start: position, length: extent.length, depth: extent.depth, present: extent.isAllocated,
                    zero: extent.readsAsZero, data: extent.isAllocated && !extent.readsAsZero, compressed: nil,
                    offset: extent.location?.offset))
            position += extent.length
        }
    }

    private mutating func append(_ entry: FixtureFacts.MapEntry) {
        var entry = entry
        entry.compressed = nil
        if !entry.present {
            // What no layer holds has no depth: QEMU names the layer whose end it met first, or the last one.
            entry.depth = 0
            entry.offset = nil
        }
        guard entry.length > 0 else { return }
        if let last = entries.last, Self.goesOn(last, entry) {
            entries[entries.count - 1].length += entry.length
        } else {
            entries.append(entry)
        }
    }

    private static func goesOn(_ one: FixtureFacts.MapEntry, _ next: FixtureFacts.MapEntry) -> Bool {
        one.depth == next.depth && one.present == next.present && one.zero == next.zero && one.data == next.data
            && one.offset.map { $0 + one.length } == next.offset
    }

    var description: String {
        entries.map { entry in
            "\n\(entry.start)+\(entry.length) depth \(entry.depth)\(entry.present ? " present" : "")"
                + "\(entry.zero ? " zero" : "")\(entry.data ? " data" : "")"
                + (entry.offset.map { " at \($0)" } ?? "")
        }.joined()
    }
}
