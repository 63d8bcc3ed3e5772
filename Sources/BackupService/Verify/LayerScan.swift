// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BlockIO

/// The work of proving the ranges of one layer, shared by several workers.
///
/// First come those that were asked for, wherever they are; then workers take pieces in the order of the disk, so that
/// whoever stops early knows how far it came.
final class LayerScan: Sendable {
    private struct State {
        /// Ranges to look at first; the last one is the next.
        var first: [UInt64]
        /// Ranges that no worker has taken.
        var pieces: PieceQueue
        /// What was found.
        var bad = BadRanges()
        var checkedRanges: UInt64 = 0
        /// Bytes of what the layer holds there.
        var checkedLength: UInt64 = 0
        /// First ranges of the pieces that workers are at, and of what they left undone.
        var underWay: Set<UInt64> = []
        /// Ranges that were checked out of order, and aren't again when their turn comes.
        var early: Set<UInt64> = []
    }

    /// Ranges that a worker takes at a time.
    private static let pieceLength: UInt64 = 16

    private let proof: LayerProof
    let rangeCount: UInt64
    /// Share of the ranges to check, above 0 and up to 1.
    private let share: Double
    /// Whether there is no time for more.
    private let isOver: @Sendable () -> Bool
    private let state: Locked<State>

    /// - Parameters:
    ///   - first: ranges that are looked at before all others.
    ///   - start: the first range in the order of the disk.
    init(
        _ proof: LayerProof, first: [UInt64] = [], from start: UInt64, share: Double = 1,
        isOver: @escaping @Sendable () -> Bool
    ) {
        self.proof = proof
        rangeCount = proof.digests.geometry.rangeCount
        self.share = share
        self.isOver = isOver
        state = Locked(
            State(
                first: Self.inRange(first, rangeCount),
                pieces: PieceQueue(min(start, rangeCount)..<rangeCount, step: Self.pieceLength)))
    }

    private static func inRange(_ ranges: [UInt64], _ count: UInt64) -> [UInt64] {
        ranges.reversed().filter { $0 < count }
    }

    /// The first range that was not looked at; the number of ranges where that is none.
    var position: UInt64 { state.withLock { min($0.underWay.min() ?? .max, $0.pieces.position) } }
    var checkedRanges: UInt64 { state.withLock { $0.checkedRanges } }
    /// Bytes of what the layer holds in the ranges that were checked.
    var checkedLength: UInt64 { state.withLock { $0.checkedLength } }
    /// In the order of the disk.
    var bad: [BadRange] { state.withLock { $0.bad.list } }
    /// Ranges that were to be looked at first, and for which there was no time.
    var unseen: [UInt64] { state.withLock { $0.first } }

    /// Adds ranges that are looked at before all others, again where they were before. While nobody works.
    func addFirst(_ ranges: [UInt64]) {
        state.withLock { $0.first += Self.inRange(ranges, rangeCount) }
    }

    /// Proves pieces until there are none, or no time.
    ///
    /// - Parameter afterPiece: called after each.
    func work(afterPiece: () async -> Void = {}) async {
        var buffer = AlignedBuffer(count: Int(ContentGeometry.rangeLength))
        while true {
            if let range = takeFirst() {
                await check(range, &buffer)
            } else if let piece = takePiece() {
                // What was not looked at is left for the next run.
                guard await check(piece, &buffer) else { return }
                state.withLock { _ = $0.underWay.remove(piece.lowerBound) }
            } else {
                return
            }
            await afterPiece()
        }
    }

    private func takeFirst() -> UInt64? {
        guard !isOver() else { return nil }
        return state.withLock { state in
            guard let range = state.first.popLast() else { return nil }
            state.early.insert(range)
            return range
        }
    }

    private func takePiece() -> Range<UInt64>? {
        guard !isOver() else { return nil }
        return state.withLock { state in
            guard let piece = state.pieces.take() else { return nil }
            state.underWay.insert(piece.lowerBound)
            return piece
        }
    }

    /// Checks the ranges of a piece, or a share of them. What is known without a look at it takes no time.
    ///
    /// - Returns: whether all of them were checked: a cancelled task stops behind the range that it is at.
    private func check(_ piece: Range<UInt64>, _ buffer: inout AlignedBuffer) async -> Bool {
        var piece = piece
        var isKnown = share >= 1
        var range = piece.lowerBound
        while range < piece.upperBound {
            // What can't be told is looked at.
            let known = share < 1 ? nil : try? await proof.knownRanges(from: range, limit: piece.upperBound)
            if let known, known.count > 0 {
                note(range..<range + known.count, isHeld: known.isHeld)
                range += known.count
                continue
            }
            if isKnown {
                isKnown = false
                piece = state.withLock { $0.pieces.shorten(piece, at: range) }
            }
            if share >= 1 || Double.random(in: 0..<1) < share, !state.withLock({ $0.early.contains(range) }) {
                await check(range, &buffer)
            }
            range += 1
            // A piece that was begun is completed, however little time there is: so each run comes further.
            if range < piece.upperBound, Task.isCancelled {
                let stop = range
                state.withLock { state in
                    state.underWay.remove(piece.lowerBound)
                    state.underWay.insert(stop)
                }
                return false
            }
        }
        if isKnown { state.withLock { $0.pieces.lengthen() } }
        return true
    }

    /// Counts ranges that are right, but for those that were checked out of order.
    private func note(_ ranges: Range<UInt64>, isHeld: Bool) {
        let geometry = proof.digests.geometry
        func length(_ ranges: Range<UInt64>) -> UInt64 {
            geometry.bytes(ofRange: ranges.upperBound - 1).upperBound
                - geometry.bytes(ofRange: ranges.lowerBound).lowerBound
        }
        state.withLock { state in
            let early = state.early.filter(ranges.contains)
            state.checkedRanges += ranges.upperBound - ranges.lowerBound - UInt64(early.count)
            guard isHeld else { return }
            state.checkedLength += length(ranges) - early.reduce(0) { $0 + length($1..<$1 + 1) }
        }
    }

    private func check(_ range: UInt64, _ buffer: inout AlignedBuffer) async {
        var fault = await proof.fault(inRange: range, &buffer)
        var length: UInt64 = 0
        do throws(BlockError) {
            length = try await proof.digests.heldLength(ofRange: range)
        } catch {
            fault = fault ?? .unreadable(error)
        }
        let (found, held) = (fault, length)
        state.withLock { state in
            state.checkedRanges += 1
            state.checkedLength += held
            guard let found else { return }
            state.bad.insert(BadRange(range: proof.digests.geometry.bytes(ofRange: range), found))
        }
    }
}
