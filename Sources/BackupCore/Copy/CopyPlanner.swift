// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// Cuts a range into pieces that are each copied in one way, by what the source knows without reading.
struct CopyPlanner {
    enum Method {
        /// The source reads as zeroes here.
        case zero
        /// The bytes are stored in one place that a target may copy from.
        case offload(StorageLocation)
        /// All else.
        case buffer
    }

    struct Piece {
        var end: UInt64
        var method: Method
    }

    let source: any BlockDevice
    /// Bytes that are copied in one way at least: what is shorter or crosses the unit's border goes through the buffer.
    let unit: UInt64
    /// Length of the disk in bytes.
    let length: UInt64

    /// The last answer that was looked at and not used up.
    private var known: (start: UInt64, extent: BlockExtent)?

    init(source: any BlockDevice, unit: UInt64, length: UInt64) {
        self.source = source
        self.unit = unit
        self.length = length
    }

    /// The piece at `position`, a multiple of the unit. It ends at a multiple of the unit, or at `end`.
    ///
    /// - Parameter longest: length in bytes of the longest piece that goes through the buffer.
    mutating func next(at position: UInt64, end: UInt64, longest: UInt64, mayOffload: Bool) async -> Piece {
        let bufferEnd = position + min(end - position, longest)
        guard var extent = await status(at: position, end: end) else {
            // Unknown is not an error: reading will tell.
            return Piece(end: bufferEnd, method: .buffer)
        }
        if let piece = special(extent, at: position, end: end, mayOffload: mayOffload) { return piece }
        // Gather what goes through the buffer, so that it is read and written in one.
        var position = position
        while true {
            let covered = position + min(extent.length, bufferEnd - position)
            position = min(covered.alignedUp(to: unit) ?? bufferEnd, bufferEnd)
            guard position < bufferEnd, let following = await status(at: position, end: end) else { break }
            if special(following, at: position, end: end, mayOffload: mayOffload) != nil { break }
            extent = following
        }
        return Piece(end: position, method: .buffer)
    }

    /// The piece that an extent allows that need not go through the buffer.
    private func special(_ extent: BlockExtent, at position: UInt64, end: UInt64, mayOffload: Bool) -> Piece? {
        let covered = position + min(extent.length, end - position)
        let pieceEnd = covered == end ? end : covered.alignedDown(to: unit)
        guard pieceEnd > position else { return nil }
        if extent.readsAsZero { return Piece(end: pieceEnd, method: .zero) }
        if mayOffload, let location = extent.location { return Piece(end: pieceEnd, method: .offload(location)) }
        return nil
    }

    private mutating func status(at position: UInt64, end: UInt64) async -> BlockExtent? {
        if let known, known.start == position { return known.extent }
        guard
            let extent = try? await source.blockStatus(at: position, length: end - position, in: .chain),
            extent.length > 0
        else { return nil }
        known = (position, extent)
        return extent
    }
}
