// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import DirtyBitmaps

/// A backup's disk that is proven while it is read.
///
/// Whatever is read, or is said to be zero, has its whole range proven first: in each layer from the top one down to that
/// which holds all of the range. What is hidden below needn't be right. Where a layer has no digests, nothing is known of
/// what shows through it.
package final class VerifyingDevice: DeviceWrapper {
    private let disk: any BlockDevice
    /// Top first; `nil` for a layer without digests.
    private let layers: [LayerProof?]
    /// Ranges that were proven, as far as they can be: what is said of their zeroes needn't be proven again.
    private let proven: Locked<DirtyBitmap>
    private let buffers = Pool<AlignedBuffer>()
    private let kept = KeptRanges()
    private let geometry: ContentGeometry

    /// - Parameter layers: of the chain, top first.
    package init(_ disk: any BlockDevice, layers: [LayerProof?]) {
        self.disk = disk
        self.layers = layers
        geometry = ContentGeometry(virtualSize: disk.length)
        do {
            proven = Locked(try DirtyBitmap(length: disk.length, granularity: ContentGeometry.rangeLength))
        } catch {
            preconditionFailure("\(error)")
        }
    }

    package var base: any BlockDevice { disk }

    package func read(at offset: UInt64, into buffer: inout MutableRawSpan) async throws(BlockError) {
        try checkRange(at: offset, length: UInt64(buffer.byteCount))
        let end = offset + UInt64(buffer.byteCount)
        var position = offset
        while position < end {
            let range = position / ContentGeometry.rangeLength
            let next = min(geometry.bytes(ofRange: range).upperBound, end)
            // Inside the buffer, so they fit.
            var part = buffer.slice(Int(position - offset)..<Int(next - offset))
            try await read(at: position, inRange: range, into: &part)
            position = next
        }
    }

    /// Gives what was proven, and not what another read would: storage may answer differently twice.
    private func read(at offset: UInt64, inRange range: UInt64, into part: inout MutableRawSpan)
        async throws(BlockError)
    {
        guard case .some(.some) = layers.first else { return try await disk.read(at: offset, into: &part) }
        let whole = geometry.bytes(ofRange: range)
        var content: AlignedBuffer
        if let kept = kept.take(range) {
            content = kept
        } else {
            content = makeBuffer()
            try await prove(range, &content)
        }
        let start = Int(offset - whole.lowerBound)
        part.copy(content.bytes.extracting(start..<start + part.byteCount))
        if offset + UInt64(part.byteCount) < whole.upperBound {
            kept.put(range, content)
        } else {
            buffers.put(content)
        }
    }

    private func makeBuffer() -> AlignedBuffer {
        buffers.take { AlignedBuffer(count: Int(ContentGeometry.rangeLength)) }
    }

    /// Says nothing of places in files: what the kernel copies from there, nobody has proven.
    package func blockStatus(
        at offset: UInt64, length: UInt64, in scope: BlockStatusScope
    ) async throws(BlockError) -> BlockExtent {
        var extent = try await disk.blockStatus(at: offset, length: length, in: scope)
        extent.location = nil
        guard extent.readsAsZero else { return extent }
        var range = offset / ContentGeometry.rangeLength
        let end = (offset + extent.length - 1) / ContentGeometry.rangeLength + 1
        while let next = try await nextDataRange(from: range), next < end {
            if !isProven(next) {
                var content = makeBuffer()
                try await prove(next, &content)
                buffers.put(content)
            }
            range = next + 1
        }
        return extent
    }

    /// The first range from `range` on that isn't all zero in some layer.
    private func nextDataRange(from range: UInt64) async throws(BlockError) -> UInt64? {
        var first: UInt64?
        for case let proof? in layers {
            guard let next = try await proof.digests.nextDataRange(from: range) else { continue }
            first = min(first ?? next, next)
        }
        return first
    }

    private func isProven(_ range: UInt64) -> Bool {
        proven.withLock { $0.isDirty(at: range * ContentGeometry.rangeLength) }
    }

    /// Proves a range as far as that is possible, and fills the buffer with what it holds.
    ///
    /// - Throws: `ContentError` in a `BlockError`.
    private func prove(_ range: UInt64, _ content: inout AlignedBuffer) async throws(BlockError) {
        let whole = geometry.bytes(ofRange: range)
        var missing = geometry.allUnits(ofRange: range)
        // Where a layer ends, what lies below it is not shown any more: it reads as zeroes.
        var end = whole.upperBound
        for (index, proof) in layers.enumerated() {
            guard let proof else {
                // Of what shows through it nothing is known.
                for unit in 0..<UInt64(ContentGeometry.unitsInRange) where missing & (1 << UInt16(unit)) != 0 {
                    let start = whole.lowerBound + unit * ContentGeometry.unitLength
                    let unitEnd = min(start + ContentGeometry.unitLength, whole.upperBound)
                    try await read(start..<unitEnd, of: whole, into: &content)
                }
                break
            }
            let layer = proof.digests.geometry
            guard range < layer.rangeCount else { break }
            end = min(end, layer.bytes(ofRange: range).upperBound)
            missing &= layer.allUnits(ofRange: range)
            let held: UInt16
            if index == 0 {
                held = try await prove(range, by: proof, &content)
                Self.forEachRun(of: ~held) { run in
                    var hidden = content.mutableSlice(run)
                    hidden.clear()
                }
            } else {
                var below = makeBuffer()
                held = try await prove(range, by: proof, &below)
                let count = Int(end - whole.lowerBound)
                Self.forEachRun(of: held & missing) { run in
                    let shown = run.clamped(to: 0..<count)
                    var target = content.mutableSlice(shown)
                    target.copy(below.bytes.extracting(shown))
                }
                buffers.put(below)
            }
            missing &= ~held
            if missing == 0 { break }
        }
        // Nor of what lies behind the disk that was written, on a longer device.
        let topEnd = layers.first.flatMap { $0 }?.digests.geometry.virtualSize ?? 0
        if topEnd < whole.upperBound {
            try await read(max(topEnd, whole.lowerBound)..<whole.upperBound, of: whole, into: &content)
        }
        // What no layer holds lies past the end of one, and is zero.
        proven.withLock { $0.set(whole) }
    }

    /// Proves what one layer holds of a range, and reads it into its place in the buffer.
    ///
    /// - Returns: the units that it holds.
    private func prove(
        _ range: UInt64, by proof: LayerProof, _ buffer: inout AlignedBuffer
    ) async throws(BlockError) -> UInt16 {
        switch await proof.fault(inRange: range, &buffer, isFilled: true) {
        case .differs, .unexpected:
            throw .layer(
                ContentError(device: proof.device.name, range: proof.digests.geometry.bytes(ofRange: range)))
        case .unreadable(let error): throw error
        case nil: return try await proof.digests.heldUnits(ofRange: range)
        }
    }

    /// Reads a part of a range as the disk shows it.
    private func read(
        _ bytes: Range<UInt64>, of whole: Range<UInt64>, into content: inout AlignedBuffer
    ) async throws(BlockError) {
        // Inside the range, so they fit.
        let place = Int(bytes.lowerBound - whole.lowerBound)..<Int(bytes.upperBound - whole.lowerBound)
        var part = content.mutableSlice(place)
        try await disk.read(at: bytes.lowerBound, into: &part)
    }

    /// Calls `body` with each run of units, as bytes of a range.
    private static func forEachRun(of units: UInt16, _ body: (Range<Int>) -> Void) {
        let length = Int(ContentGeometry.unitLength)
        var first = 0
        while first < ContentGeometry.unitsInRange {
            var end = first
            while end < ContentGeometry.unitsInRange, units & (1 << UInt16(end)) != 0 { end += 1 }
            if end > first { body(first * length..<end * length) }
            first = end + 1
        }
    }
}
