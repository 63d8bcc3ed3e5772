// SPDX-License-Identifier: GPL-2.0-or-later

/// Guest bytes that are stored in one way.
struct ClusterRun: Sendable, Equatable {
    enum Kind: Sendable, Equatable {
        /// The backing file determines the content, or it is zero where there is none.
        case unallocated
        /// Zero. The host offset is that of a cluster that is kept for later.
        case zero(reserved: HostOffset?)
        /// Stored as they are, from this offset on.
        case data(HostOffset)
        /// One cluster or a part of one.
        case compressed(CompressedClusterDescriptor)
    }

    var guest: GuestOffset
    /// Length in bytes.
    var length: UInt64
    let kind: Kind
    /// Where unallocated subclusters have room in a cluster whose others are stored; `nil` for all other runs.
    var room: HostOffset?

    var end: UInt64 { guest.bytes + length }

    /// Makes one run of two where the second goes on as the first ends.
    mutating func absorb(_ next: ClusterRun) -> Bool {
        switch (kind, next.kind) {
        case (.unallocated, .unallocated):
            guard room.map({ $0.bytes + length }) == next.room?.bytes else { return false }
        case (.zero(nil), .zero(nil)):
            break
        case (.zero(let mine?), .zero(let other?)), (.data(let mine), .data(let other)):
            guard mine.bytes + length == other.bytes else { return false }
        default:
            return false
        }
        length += next.length
        return true
    }
}
