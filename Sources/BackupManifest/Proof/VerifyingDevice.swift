// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
public import BlockIO
import DirtyBitmaps

/// A backup's disk that is proven while it is read.
///
/// Whatever is read, or is said to be zero, has its whole range proven first: in each layer from the top one down to that
/// which holds all of the range. What is hidden below needn't be right. Where a layer has no digests, nothing is known of
/// what shows through it.
public final class VerifyingDevice: BlockDevice {
    private let disk: any BlockDevice
    /// Top first; `nil` for a layer without digests.
    private let layers: [LayerProof?]
    /// Ranges that were proven, as far as they can be.
    private let proven: Locked<DirtyBitmap>
    private let buffers = Pool<AlignedBuffer>()
    private let geometry: ContentGeometry

    /// - Parameter layers: of the chain, top first.
    public init(_ disk: any BlockDevice, layers: [LayerProof?]) {
        self.disk = disk
        self.layers = layers
        geometry = ContentGeometry(virtualSize: disk.length)
        do {
            proven = Locked(try DirtyBitmap(length: disk.length, granularity: ContentGeometry.rangeLength))
        } catch {
            preconditionFailure("\(error)")
        }
    }

    public var name: String { disk.name }
    public var length: UInt64 { disk.length }
    public var capabilities: DeviceCapabilities { disk.capabilities }
    public var backing: (any BlockDevice)? { disk.backing }

    public func clusterSize() async throws(BlockError) -> UInt64 {
        try await disk.clusterSize()
    }

    public func read(at offset: UInt64, into buffer: inout MutableRawSpan) async throws(BlockError) {
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

    private func read(at offset: UInt64, inRange range: UInt64, into part: inout MutableRawSpan)
        async throws(BlockError)
    {
        if !isProven(range) {
            var content = buffers.take { AlignedBuffer(count: Int(ContentGeometry.rangeLength)) }
            if try await prove(range, &content) {
                let start = Int(offset - geometry.bytes(ofRange: range).lowerBound)
                part.copy(content.bytes.extracting(start..<start + part.byteCount))
                buffers.put(content)
                return
            }
            buffers.put(content)
        }
        try await disk.read(at: offset, into: &part)
    }

    /// Says nothing of places in files: what the kernel copies from there, nobody has proven.
    public func blockStatus(
        at offset: UInt64, length: UInt64, in scope: BlockStatusScope
    ) async throws(BlockError) -> BlockExtent {
        var extent = try await disk.blockStatus(at: offset, length: length, in: scope)
        extent.location = nil
        guard extent.readsAsZero else { return extent }
        var range = offset / ContentGeometry.rangeLength
        let end = (offset + extent.length - 1) / ContentGeometry.rangeLength + 1
        while let next = try await nextDataRange(from: range), next < end {
            if !isProven(next) {
                var content = buffers.take { AlignedBuffer(count: Int(ContentGeometry.rangeLength)) }
                _ = try await prove(next, &content)
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

    /// Proves a range as far as that is possible.
    ///
    /// - Returns: whether the buffer has its content now.
    /// - Throws: `ContentError` in a `BlockError`.
    private func prove(_ range: UInt64, _ buffer: inout AlignedBuffer) async throws(BlockError) -> Bool {
        let whole = geometry.bytes(ofRange: range)
        var shown = geometry.allUnits(ofRange: range)
        // Where a layer ends, what lies below it is not shown any more: it reads as zeroes.
        var end = whole.upperBound
        var isFirstHolder = true
        for proof in layers {
            guard let proof else { break }
            let layer = proof.digests.geometry
            guard range < layer.rangeCount else { break }
            end = min(end, layer.bytes(ofRange: range).upperBound)
            shown &= layer.allUnits(ofRange: range)
            switch await proof.fault(inRange: range, &buffer, isFilled: true) {
            case .differs, .unexpected:
                throw .layer(ContentError(device: proof.device.name, range: layer.bytes(ofRange: range)))
            case .unreadable(let error): throw error
            case nil: break
            }
            let held = try await proof.digests.heldUnits(ofRange: range)
            if held & shown == shown {
                proven.withLock { $0.set(whole) }
                return isFirstHolder && end == whole.upperBound
            }
            if held != 0 { isFirstHolder = false }
        }
        // What no layer holds lies past the end of one, and is zero; or behind a layer without digests, and looking again
        // would prove no more of it.
        proven.withLock { $0.set(whole) }
        return false
    }
}
