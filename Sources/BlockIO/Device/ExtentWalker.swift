// SPDX-License-Identifier: GPL-2.0-or-later

/// Asks a disk, front to back, what is known of it.
///
/// To answer about a long range, an image looks at as many of its entries, also where a layer behind it then answers for
/// a single cluster. So the questions are short, and grow only as long as they are answered in full.
package struct ExtentWalker {
    private let device: any BlockDevice
    /// Bytes to ask about next.
    private var step = Self.shortest

    private static let shortest: UInt64 = 1 << 20
    private static let longest: UInt64 = 1 << 40

    package init(_ device: any BlockDevice) {
        self.device = device
    }

    /// What is known of the bytes from `position` on, before `end`. Past its end a disk is zero.
    package mutating func next(at position: UInt64, end: UInt64) async throws(BlockError) -> BlockExtent {
        guard position < device.length else {
            return BlockExtent(length: end - position, isAllocated: false, readsAsZero: true)
        }
        let asked = min(min(end, device.length) - position, step)
        let extent = try await device.blockStatus(at: position, length: asked, in: .chain)
        step = extent.length < asked ? Self.shortest : min(step * 2, Self.longest)
        return extent
    }
}

/// Asks two disks, front to back, what is known of the same bytes.
package struct PairWalker {
    /// What is known of both; `second` is `nil` where it was not asked.
    package struct Pair {
        package let length: UInt64
        package let first: BlockExtent
        package let second: BlockExtent?

        package var isZeroInBoth: Bool { first.readsAsZero && second?.readsAsZero == true }
    }

    private var first: ExtentWalker
    private var second: ExtentWalker
    /// The first disk's last answer, which may be longer than the second one's, and where it begins.
    private var answer: (start: UInt64, extent: BlockExtent)?

    package init(_ first: any BlockDevice, _ second: any BlockDevice) {
        self.first = ExtentWalker(first)
        self.second = ExtentWalker(second)
    }

    /// What is known of the bytes from `position` on, before `end`.
    ///
    /// - Parameter onlyOverZeroes: whether the second disk is asked only where the first one is known to be zero.
    package mutating func next(
        at position: UInt64, end: UInt64, onlyOverZeroes: Bool = false
    ) async throws(BlockError) -> Pair {
        let mine = try await firstExtent(at: position, end: end)
        guard mine.readsAsZero || !onlyOverZeroes else { return Pair(length: mine.length, first: mine, second: nil) }
        let theirs = try await second.next(at: position, end: position + mine.length)
        return Pair(length: theirs.length, first: mine, second: theirs)
    }

    /// The first disk's extent from `position` on; not longer than up to `end`.
    private mutating func firstExtent(at position: UInt64, end: UInt64) async throws(BlockError) -> BlockExtent {
        if let known = answer, position >= known.start, position - known.start < known.extent.length {
            return known.extent.part(from: position - known.start, length: end - position)
        }
        let extent = try await first.next(at: position, end: end)
        answer = (position, extent)
        return extent
    }
}

extension BlockDevice {
    /// Whether a range of the disk is known to be zero without being read.
    package func isKnownZero(_ range: Range<UInt64>) async throws(BlockError) -> Bool {
        var position = range.lowerBound
        while position < range.upperBound {
            let extent = try await blockStatus(at: position, length: range.upperBound - position, in: .chain)
            guard extent.readsAsZero else { return false }
            position += extent.length
        }
        return true
    }
}
