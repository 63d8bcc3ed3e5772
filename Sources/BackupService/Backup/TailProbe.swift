// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// Asks two disks, front to back, where the second one holds something, and what the first one has there.
struct TailProbe {
    enum Content {
        /// The first disk is known to be zero, the second one isn't.
        case zeroOverContent
        /// Neither is known to be zero.
        case contentInBoth
        /// The second disk is known to be zero.
        case nothing
    }

    private var pair: PairProbe
    private var second: ZeroProbe

    init(_ first: any BlockDevice, _ second: any BlockDevice) {
        pair = PairProbe(first, second)
        self.second = ZeroProbe(second)
    }

    /// What is there from `position` on, before `end`, and for how many bytes.
    mutating func next(
        at position: UInt64, end: UInt64
    ) async throws(BlockError) -> (length: UInt64, content: Content) {
        let (known, content) = try await pair.next(at: position, end: end)
        switch content {
        case .zeroInBoth: return (known, .nothing)
        case .zeroOverContent: return (known, .zeroOverContent)
        case .content:
            let (length, isZero) = try await second.next(at: position, end: position + known)
            return (length, isZero ? .nothing : .contentInBoth)
        }
    }
}
