// SPDX-License-Identifier: GPL-2.0-or-later

/// An L2 table, and who leads to it. Tables that several L1 tables share are looked at once.
struct TableUse: Sendable {
    let offset: UInt64
    /// The first L1 entry that leads here.
    var l1Index: UInt32
    /// Entries of the active L1 table that lead here, with the copied flag and without it.
    var activeCopied: UInt32 = 0
    var activePlain: UInt32 = 0
    /// Entries of all L1 tables that lead here.
    var count: UInt64
    /// Parts of the file, each a bit, that the table's entries lead to; all before it has been read.
    var segments = UInt64.max
    /// Whether something else uses the table's cluster too.
    var isContested = false

    var activeCount: UInt64 { UInt64(activeCopied) + UInt64(activePlain) }

    /// Whether copied flags mean something: in the active tables, and not where an L1 entry has flags and no table.
    var checksCopied: Bool { activeCount > 0 && offset != 0 }

    mutating func absorb(_ other: TableUse) {
        l1Index = min(l1Index, other.l1Index)
        activeCopied += other.activeCopied
        activePlain += other.activePlain
        count &+= other.count
    }
}

extension [TableUse] {
    /// Sorts by offset, and makes one of those that are the same table.
    mutating func compact() {
        sort { $0.offset < $1.offset }
        var end = 0
        for index in indices {
            if end > 0, self[end - 1].offset == self[index].offset {
                self[end - 1].absorb(self[index])
            } else {
                self[end] = self[index]
                end += 1
            }
        }
        removeLast(count - end)
    }
}

/// Bytes of the file that a structure other than an L2 table or a refcount block fills.
struct StructureRange: Sendable {
    let structure: Qcow2Error.Structure
    let offset: UInt64
    /// At least 1. The range ends below 2^63.
    let length: UInt64
    /// How many structures lie there.
    let count: UInt64
}

/// An L1 table.
struct L1Location: Sendable, Hashable {
    let offset: UInt64
    /// Number of entries.
    let entryCount: UInt64
}
