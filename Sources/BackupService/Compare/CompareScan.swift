// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// The work of a comparison of contents, shared by several workers.
///
/// Workers take pieces of the disk in its order. Whoever finds a difference, or can't read on, leaves its offset; pieces
/// behind the first such offset are not looked at any more. All before it are, so it is the first in the end.
final class CompareScan: Sendable {
    enum Finding: Sendable {
        case difference
        case failure(CompareFailure.Stage, BlockError)
    }

    struct State {
        /// Bytes that no worker has taken.
        var pieces: PieceQueue
        /// Bytes that were looked at.
        var done: UInt64 = 0
        var first: (offset: UInt64, finding: Finding)?
    }

    /// Bytes that a worker takes at a time, where there is something to read.
    private static let pieceLength: UInt64 = 16 << 20
    /// Bytes that are read at a time.
    private static let readLength = 256 << 10

    private let one: any BlockDevice
    private let two: any BlockDevice
    /// Bytes from the start on that are compared; where a disk is shorter, it is taken to go on with zeroes.
    private let length: UInt64
    /// Whether there is no time for more.
    private let isOver: @Sendable () -> Bool
    private let state: Locked<State>

    init(
        _ one: any BlockDevice, _ two: any BlockDevice, length: UInt64,
        isOver: @escaping @Sendable () -> Bool = { false }
    ) {
        self.one = one
        self.two = two
        self.length = length
        self.isOver = isOver
        state = Locked(State(pieces: PieceQueue(0..<length, step: Self.pieceLength)))
    }

    var done: UInt64 { state.withLock { $0.done } }

    /// What was found first, and where; `nil` where all is the same. Once all workers have ended.
    var first: (offset: UInt64, finding: Finding)? { state.withLock { $0.first } }

    /// Compares pieces until there are none, or no time.
    func work() async {
        var buffers = Buffers(
            one: AlignedBuffer(count: Self.readLength), two: AlignedBuffer(count: Self.readLength),
            walker: PairWalker(self.one, self.two))
        while var piece = take() {
            var position = piece.lowerBound
            do throws(StageError) {
                if let offset = try await firstDifference(in: &piece, &position, &buffers) { note(offset, .difference) }
            } catch {
                note(position, .failure(error.stage, error.cause))
            }
            let length = piece.upperBound - piece.lowerBound
            state.withLock { $0.done += length }
        }
    }

    private struct Buffers: ~Copyable {
        var one: AlignedBuffer
        var two: AlignedBuffer
        var walker: PairWalker
    }

    private struct StageError: Error {
        let stage: CompareFailure.Stage
        let cause: BlockError
    }

    private func take() -> Range<UInt64>? {
        guard !isOver() else { return nil }
        return state.withLock { state in
            state.pieces.take(below: state.first?.offset ?? length)
        }
    }

    private func note(_ offset: UInt64, _ finding: Finding) {
        state.withLock { state in
            if state.first.map({ offset < $0.offset }) ?? true { state.first = (offset, finding) }
        }
    }

    // MARK: One piece

    /// How a run of bytes has to be compared.
    private enum Way: Equatable {
        case notAtAll
        /// Only the first disk is read: the second is zero.
        case first
        case second
        case both
    }

    /// - Parameters:
    ///   - piece: shortened where it is long, and there is something to read.
    ///   - position: how far it came.
    private func firstDifference(
        in piece: inout Range<UInt64>, _ position: inout UInt64, _ buffers: inout Buffers
    ) async throws(StageError) -> UInt64? {
        // What is compared in the same way is read together, whatever the tables make of it.
        var pending: (way: Way, end: UInt64) = (.notAtAll, piece.lowerBound)
        var next = piece.lowerBound
        var isIdle = true
        while next < piece.upperBound {
            var (way, end) = try await Self.way(at: next, until: piece.upperBound, &buffers.walker)
            if isIdle, way != .notAtAll {
                isIdle = false
                let (whole, start) = (piece, next)
                piece = state.withLock { $0.pieces.shorten(whole, at: start) }
                end = min(end, piece.upperBound)
            }
            if way != pending.way {
                if let found = try await compare(&position, pending, &buffers) { return found }
                pending.way = way
            }
            pending.end = end
            next = end
        }
        if isIdle { state.withLock { $0.pieces.lengthen() } }
        return try await compare(&position, pending, &buffers)
    }

    private static func way(
        at offset: UInt64, until end: UInt64, _ walker: inout PairWalker
    ) async throws(StageError) -> (Way, end: UInt64) {
        do throws(BlockError) {
            let pair = try await walker.next(at: offset, end: end)
            let end = offset + pair.length
            switch (pair.first.readsAsZero, pair.second?.readsAsZero ?? false) {
            case (true, true): return (.notAtAll, end)
            case (false, true): return (.first, end)
            case (true, false): return (.second, end)
            case (false, false): return (areOne(pair.first.location, pair.second?.location) ? .notAtAll : .both, end)
            }
        } catch {
            throw StageError(stage: .mapping, cause: error)
        }
    }

    /// Whether both are the same bytes of the same file.
    private static func areOne(_ one: StorageLocation?, _ two: StorageLocation?) -> Bool {
        guard let one, let two, one.offset == two.offset else { return false }
        return one.device.identity == two.device.identity
    }

    private func compare(
        _ position: inout UInt64, _ run: (way: Way, end: UInt64), _ buffers: inout Buffers
    ) async throws(StageError) -> UInt64? {
        guard run.way != .notAtAll else {
            position = run.end
            return nil
        }
        while position < run.end {
            // At most a buffer's length.
            let count = Int(min(UInt64(Self.readLength), run.end - position))
            do throws(BlockError) {
                let start = position
                if run.way != .second {
                    var bytes = buffers.one.mutablePrefix(count)
                    try await one.read(at: start, into: &bytes)
                }
                if run.way != .first {
                    var bytes = buffers.two.mutablePrefix(count)
                    try await two.read(at: start, into: &bytes)
                }
            } catch {
                throw StageError(stage: .reading, cause: error)
            }
            if let index = Self.difference(buffers, count, run.way) { return position + UInt64(index) }
            position += UInt64(count)
        }
        return nil
    }

    private static func difference(_ buffers: borrowing Buffers, _ count: Int, _ way: Way) -> Int? {
        switch way {
        case .notAtAll: nil
        case .first: buffers.one.prefix(count).firstNonzero
        case .second: buffers.two.prefix(count).firstNonzero
        case .both: buffers.one.prefix(count).firstDifference(from: buffers.two.prefix(count))
        }
    }
}
