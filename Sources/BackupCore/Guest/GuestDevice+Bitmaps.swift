// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps

/// What users do with a disk's bitmaps that takes more than the bitmaps themselves.
extension GuestDevice {
    /// A bitmap to merge from.
    package struct BitmapSource: Sendable {
        package var device: GuestDevice
        package var name: String

        package init(_ name: String, of device: GuestDevice) {
            self.device = device
            self.name = name
        }
    }

    /// Adds a clean bitmap.
    ///
    /// - Parameters:
    ///   - granularity: bytes that a bit stands for; `nil` chooses by the disk's clusters.
    ///   - isRecording: whether it takes note of writes from now on.
    ///   - isPersistent: whether it is to be stored with the disk.
    /// - Throws: `DirtyBitmapError.invalidGranularity`, `.emptyName`, `.nameTooLong`, `.exists`.
    package func addBitmap(
        _ name: String, granularity: UInt64? = nil, isRecording: Bool = true, isPersistent: Bool = false
    ) async throws(DirtyBitmapError) {
        // A disk that can't tell has none that matter here.
        let chosen =
            if let granularity { granularity } else {
                DirtyBitmap.defaultGranularity(clusterSize: (try? await disk.clusterSize()) ?? 0)
            }
        try withBitmaps { (bitmaps) throws(DirtyBitmapError) in
            try bitmaps.add(name, granularity: chosen, isRecording: isRecording, isPersistent: isPersistent)
        }
    }

    /// Makes dirty in one bitmap what is dirty in any of the others. Changes nothing where it fails.
    ///
    /// - Throws: `DirtyBitmapError.notFound`, `.busy`, `.inconsistent`, `.readOnly`, `.lengthsDiffer`.
    package func mergeBitmaps(_ sources: [BitmapSource], into name: String) throws(DirtyBitmapError) {
        let others = try Self.bits(of: sources)
        try withBitmaps { (bitmaps) throws(DirtyBitmapError) in
            try bitmaps.update(name) { (bitmap) throws(DirtyBitmapError) in try bitmap.merge(others) }
        }
    }

    /// The bits of bitmaps that may be relied on.
    ///
    /// - Throws: `DirtyBitmapError.notFound`, `.busy`, `.inconsistent`.
    static func bits(of sources: [BitmapSource]) throws(DirtyBitmapError) -> [DirtyBitmap] {
        var bits: [DirtyBitmap] = []
        // One device's lock at a time: two merges may go opposite ways.
        for source in sources {
            let bitmap = try source.device.withBitmaps { (bitmaps) throws(DirtyBitmapError) in
                try bitmaps.get(source.name)
            }
            try bitmap.checkUsable()
            bits.append(bitmap.bits)
        }
        return bits
    }
}
