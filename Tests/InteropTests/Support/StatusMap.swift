// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import TestSupport

/// Block status in the form of `qemu-img map`, with equal neighbours merged, so that only what differs differs.
struct StatusMap: Equatable, CustomStringConvertible {
    struct Entry: Equatable {
        var start: UInt64
        var length: UInt64
        var depth: Int
        var present: Bool
        var zero: Bool
        var data: Bool
        var offset: UInt64?
    }

    private(set) var entries: [Entry] = []

    init(_ entries: [FixtureFacts.MapEntry]) {
        for entry in entries {
            append(
                Entry(
                    start: entry.start, length: entry.length, depth: entry.depth, present: entry.present,
                    zero: entry.zero, data: entry.data, offset: entry.offset))
        }
    }

    init(_ extents: [BlockExtent]) {
        var position: UInt64 = 0
        for extent in extents {
            append(
                Entry(
                    start: position, length: extent.length, depth: extent.depth, present: extent.isAllocated,
                    zero: extent.readsAsZero, data: extent.isAllocated && !extent.readsAsZero,
                    offset: extent.location?.offset))
            position += extent.length
        }
    }

    private mutating func append(_ entry: Entry) {
        var entry = entry
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

    private static func goesOn(_ one: Entry, _ next: Entry) -> Bool {
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
