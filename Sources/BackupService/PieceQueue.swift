// SPDX-License-Identifier: GPL-2.0-or-later

/// Hands out pieces of a disk in order: short ones where there is work, so that workers share it, and ever longer ones
/// where there is none, since a disk may be so large that nobody comes to its end step by step.
struct PieceQueue: Sendable {
    /// Nothing from here on was taken.
    private var next: UInt64
    private let end: UInt64
    /// Length of the shortest piece.
    let step: UInt64
    /// Of the next piece.
    private var length: UInt64
    /// What was given back, each part before `next`.
    private var rest: [Range<UInt64>] = []

    /// Steps of the longest piece.
    private static let mostSteps: UInt64 = 1 << 16

    init(_ range: Range<UInt64>, step: UInt64) {
        next = range.lowerBound
        end = range.upperBound
        self.step = step
        length = step
    }

    /// Nothing that is still to be taken is before.
    var position: UInt64 { min(rest.map(\.lowerBound).min() ?? .max, next) }

    /// - Returns: the next piece; `nil` where none begins before `limit`.
    mutating func take(below limit: UInt64 = .max) -> Range<UInt64>? {
        if let index = rest.indices.min(by: { rest[$0].lowerBound < rest[$1].lowerBound }) {
            let part = rest[index]
            guard part.lowerBound < limit else { return nil }
            let piece = part.lowerBound..<part.lowerBound + min(length, part.upperBound - part.lowerBound)
            if piece.upperBound == part.upperBound {
                rest.remove(at: index)
            } else {
                rest[index] = piece.upperBound..<part.upperBound
            }
            return piece
        }
        guard next < min(end, limit) else { return nil }
        let piece = next..<next + min(length, end - next)
        next = piece.upperBound
        return piece
    }

    /// There was nothing to do in a piece.
    mutating func lengthen() {
        length = min(length * 2, step * Self.mostSteps)
    }

    /// Where in a long piece there is something to do, cuts it off a step behind that, for others to go on.
    ///
    /// - Returns: what is left of it.
    mutating func shorten(_ piece: Range<UInt64>, at position: UInt64) -> Range<UInt64> {
        guard piece.upperBound - position > step else { return piece }
        rest.append(position + step..<piece.upperBound)
        length = step
        return piece.lowerBound..<position + step
    }
}
