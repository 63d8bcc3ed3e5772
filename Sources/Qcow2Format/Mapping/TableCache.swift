// SPDX-License-Identifier: GPL-2.0-or-later

/// Recently used pieces of L2 tables and refcount blocks, as they are stored.
///
/// Keyed by the piece's offset in the image file. A plain value: the owner guards it, and does the reading and writing.
struct TableCache: Sendable {
    private struct Piece {
        var bytes: [UInt8]
        var isDirty: Bool
        var lastUse: UInt64
    }

    /// What must be written before its room is used for another piece.
    struct Victim {
        let offset: UInt64
        let bytes: [UInt8]
        let isDirty: Bool
    }

    private var pieces: [UInt64: Piece] = [:]
    private var clock: UInt64 = 0
    private let capacity: Int

    /// - Parameter capacity: number of pieces.
    init(capacity: Int) {
        self.capacity = capacity
    }

    mutating func bytes(at offset: UInt64) -> [UInt8]? {
        guard let index = pieces.index(forKey: offset) else { return nil }
        clock += 1
        pieces.values[index].lastUse = clock
        return pieces.values[index].bytes
    }

    func contains(_ offset: UInt64) -> Bool {
        pieces.index(forKey: offset) != nil
    }

    /// Changes a piece that is in the cache.
    mutating func modify(_ offset: UInt64, _ body: (inout [UInt8]) -> Void) {
        let index = pieces.index(forKey: offset)!
        clock += 1
        pieces.values[index].lastUse = clock
        pieces.values[index].isDirty = true
        body(&pieces.values[index].bytes)
    }

    /// The piece to give up before another is inserted; `nil` while there is room.
    func victim() -> Victim? {
        guard pieces.count >= capacity else { return nil }
        return pieces.min { $0.value.lastUse < $1.value.lastUse }.map {
            Victim(offset: $0.key, bytes: $0.value.bytes, isDirty: $0.value.isDirty)
        }
    }

    mutating func remove(_ offset: UInt64) {
        pieces[offset] = nil
    }

    /// Forgets what was stored in a cluster.
    mutating func remove(in cluster: Range<UInt64>, pieceLength: UInt64) {
        for offset in stride(from: cluster.lowerBound, to: cluster.upperBound, by: Int(pieceLength)) {
            pieces[offset] = nil
        }
    }

    mutating func insert(_ bytes: [UInt8], at offset: UInt64, isDirty: Bool) {
        clock += 1
        pieces[offset] = Piece(bytes: bytes, isDirty: isDirty, lastUse: clock)
    }

    /// Offsets of the changed pieces, ascending, so that they are written in the order of the file.
    func dirtyOffsets() -> [UInt64] {
        pieces.filter { $0.value.isDirty }.map(\.key).sorted()
    }

    mutating func markClean(_ offset: UInt64) {
        pieces[offset]?.isDirty = false
    }
}
