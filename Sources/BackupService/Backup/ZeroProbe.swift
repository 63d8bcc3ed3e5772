// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// Asks a disk, front to back, what it knows to be zero.
///
/// To answer about a long range, an image looks at as many of its entries, also where a layer behind it then answers for
/// a single cluster. So the questions are short, and grow only as long as they are answered in full.
struct ZeroProbe {
    let disk: any BlockDevice
    private var step = Self.shortest

    private static let shortest: UInt64 = 1 << 20
    private static let longest: UInt64 = 1 << 40

    init(_ disk: any BlockDevice) {
        self.disk = disk
    }

    /// How many bytes from `position` on, before `end`, are known to be zero, or are not. Past its end a disk is zero.
    mutating func next(at position: UInt64, end: UInt64) async throws(BlockError) -> (length: UInt64, isZero: Bool) {
        guard position < disk.length else { return (end - position, true) }
        let asked = min(min(end, disk.length) - position, step)
        let extent = try await disk.blockStatus(at: position, length: asked, in: .chain)
        step = extent.length < asked ? Self.shortest : min(step * 2, Self.longest)
        return (extent.length, extent.readsAsZero)
    }
}
