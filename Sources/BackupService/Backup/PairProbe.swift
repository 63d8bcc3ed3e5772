// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// Asks two disks, front to back, where both are known to be zero. The second is only asked where the first one is.
struct PairProbe {
    enum Content {
        /// The first disk isn't known to be zero.
        case content
        /// The first disk is zero, and the second isn't known to be.
        case zeroOverContent
        case zeroInBoth
    }

    private var first: ZeroProbe
    private var second: ZeroProbe
    /// The first disk's last answer, which may be longer than the second one's.
    private var answer: (range: Range<UInt64>, isZero: Bool) = (0..<0, false)

    init(_ first: any BlockDevice, _ second: any BlockDevice) {
        self.first = ZeroProbe(first)
        self.second = ZeroProbe(second)
    }

    /// What is there from `position` on, before `end`, and for how many bytes.
    mutating func next(
        at position: UInt64, end: UInt64
    ) async throws(BlockError) -> (length: UInt64, content: Content) {
        if !answer.range.contains(position) {
            let (length, isZero) = try await first.next(at: position, end: end)
            answer = (position..<position + length, isZero)
        }
        let known = min(answer.range.upperBound, end)
        guard answer.isZero else { return (known - position, .content) }
        let (length, isZero) = try await second.next(at: position, end: known)
        return (length, isZero ? .zeroInBoth : .zeroOverContent)
    }
}
