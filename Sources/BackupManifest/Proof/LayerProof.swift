// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// Proves one layer of a chain by its digests: that each unit it held is as it was, and that it holds no others.
package struct LayerProof: Sendable {
    /// The disk that the layer shows, with all that lies behind it.
    package let device: any BlockDevice
    package let digests: ContentDigests
    /// What lies behind it; `nil` for nothing.
    private let parent: (any BlockDevice)?
    private let digester: UnitDigester

    /// - Parameter device: as long as the digests say.
    package init(_ device: any BlockDevice, digests: ContentDigests) {
        precondition(device.length == digests.geometry.virtualSize)
        self.device = device
        self.digests = digests
        parent = digests.isWhole ? nil : device.backing
        digester = UnitDigester(digests.algorithm, digests.geometry)
    }

    /// Checks a range.
    ///
    /// - Parameters:
    ///   - buffer: a range's length. Where the layer holds the whole range, and that is not known to be zero, it has the
    ///     content afterwards.
    ///   - isFilled: whether the buffer is to have the content in any case.
    /// - Returns: `nil` where all is as it was.
    package func fault(
        inRange index: UInt64, _ buffer: inout AlignedBuffer, isFilled: Bool = false
    ) async -> ContentFault? {
        do throws(BlockError) {
            let bytes = digests.geometry.bytes(ofRange: index)
            let held = try await digests.heldUnits(ofRange: index)
            if held != 0 {
                guard try await holds(held, index, bytes, &buffer, isFilled) else { return .differs }
            }
            let others = digests.geometry.allUnits(ofRange: index) & ~held
            if others != 0, try await holdsOther(than: held, bytes) { return .unexpected }
            return nil
        } catch {
            return .unreadable(error)
        }
    }

    private func holds(
        _ held: UInt16, _ index: UInt64, _ bytes: Range<UInt64>, _ buffer: inout AlignedBuffer, _ isFilled: Bool
    ) async throws(BlockError) -> Bool {
        let expected = try await digests.digest(ofRange: index)
        if expected == nil, !isFilled, try await device.isKnownZero(bytes) { return true }
        // At most a range's length.
        let count = Int(bytes.upperBound - bytes.lowerBound)
        var start = 0
        while let run = Self.run(of: held, from: &start, count: count) {
            var span = buffer.mutableSlice(run)
            try await device.read(at: bytes.lowerBound + UInt64(run.lowerBound), into: &span)
        }
        return digester.digest(ofRange: index, held: held, in: buffer.prefix(count)) == expected
    }

    /// The next run of units, as bytes of the range.
    private static func run(of units: UInt16, from start: inout Int, count: Int) -> Range<Int>? {
        let length = Int(ContentGeometry.unitLength)
        func isHeld(_ unit: Int) -> Bool { unit < 16 && units & (1 << UInt16(unit)) != 0 }
        var first = start
        while first < ContentGeometry.unitsInRange, !isHeld(first) { first += 1 }
        guard first < ContentGeometry.unitsInRange else { return nil }
        var end = first
        while isHeld(end) { end += 1 }
        start = end
        return min(first * length, count)..<min(end * length, count)
    }

    /// Whether the layer shows anything else than its parent in units that it didn't hold.
    private func holdsOther(
        than held: UInt16, _ bytes: Range<UInt64>
    ) async throws(BlockError) -> Bool {
        var position = bytes.lowerBound
        while position < bytes.upperBound {
            let extent = try await device.blockStatus(
                at: position, length: bytes.upperBound - position, in: .topLayer)
            if extent.isAllocated {
                let range = position..<position + extent.length
                if try await differs(range, except: held, from: bytes.lowerBound) { return true }
            }
            position += extent.length
        }
        return false
    }

    /// Compares what the layer shows with what its parent shows.
    private func differs(
        _ range: Range<UInt64>, except held: UInt16, from start: UInt64
    ) async throws(BlockError) -> Bool {
        var position = range.lowerBound
        while position < range.upperBound {
            let unit = (position - start) / ContentGeometry.unitLength
            let end = min(start + (unit + 1) * ContentGeometry.unitLength, range.upperBound)
            defer { position = end }
            guard held & (1 << UInt16(unit)) == 0 else { continue }
            // At most a unit's length.
            let count = Int(end - position)
            var own = AlignedBuffer(count: count)
            var span = own.mutableBytes
            try await device.read(at: position, into: &span)
            var other = AlignedBuffer(count: count)
            try await readParent(at: position, into: &other)
            if own.bytes.firstDifference(from: other.bytes) != nil { return true }
        }
        return false
    }

    /// Past its end, and where there is none, a parent reads as zeroes.
    private func readParent(at offset: UInt64, into buffer: inout AlignedBuffer) async throws(BlockError) {
        let count = UInt64(buffer.count)
        var bytes = buffer.mutableBytes
        bytes.clear()
        guard let parent, offset < parent.length else { return }
        var part = bytes.slice(0..<Int(min(count, parent.length - offset)))
        try await parent.read(at: offset, into: &part)
    }
}
