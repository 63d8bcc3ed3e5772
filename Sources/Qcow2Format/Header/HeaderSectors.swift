// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// What has to be written, and in which order, to turn the first cluster of an image into another one.
///
/// A power cut can tear a write, though not within a sector. So a change inside one sector is written as it is: it happens
/// or it doesn't. For a larger one the image's bitmaps are declared invalid before it, and valid again behind it, so that
/// no reader follows an extension that is half old and half new.
struct HeaderSectors {
    /// Bytes that storage of any kind writes whole or not at all.
    static let sectorLength = 512
    /// Byte of the header that holds the autoclear bit for bitmaps, and the bit.
    private static let bitmapsByte = 95
    private static let bitmapsBit: UInt8 = 1

    /// Bytes to write at an offset of the file, followed by a flush.
    struct Step: Equatable {
        let offset: Int
        let bytes: [UInt8]
    }

    /// - Parameters:
    ///   - old: the first cluster as it is on the disk.
    ///   - new: as it is to be, of the same length.
    static func steps(from old: [UInt8], to new: [UInt8]) -> [Step] {
        precondition(old.count == new.count && old.count >= sectorLength)
        let changed = stride(from: 0, to: old.count, by: sectorLength).filter { start in
            old[start..<start + sectorLength] != new[start..<start + sectorLength]
        }
        guard let first = changed.first, let last = changed.last else { return [] }
        if changed.count == 1 { return [Step(offset: first, bytes: sector(first, of: new))] }
        var steps: [Step] = []
        if hasBitmaps(old) { steps.append(Step(offset: 0, bytes: sector(0, of: withoutBitmaps(old)))) }
        // The first sector is part of it where the bit changes there, whatever else does.
        let start = hasBitmaps(old) || hasBitmaps(new) ? 0 : first
        steps.append(Step(offset: start, bytes: Array(withoutBitmaps(new)[start..<last + sectorLength])))
        if hasBitmaps(new) { steps.append(Step(offset: 0, bytes: sector(0, of: new))) }
        return steps
    }

    /// Turns the first cluster of a file into another one, each step durable before the next.
    ///
    /// - Parameter new: the whole cluster. The file is at least as long.
    static func replace(with new: [UInt8], in file: any Storage) async throws(BlockError) {
        let old = try await file.contents(at: 0, count: new.count)
        for step in steps(from: old, to: new) {
            try await file.write(at: UInt64(step.offset), from: step.bytes.span.bytes)
            try await file.flush()
        }
    }

    private static func sector(_ start: Int, of cluster: [UInt8]) -> [UInt8] {
        Array(cluster[start..<start + sectorLength])
    }

    private static func isVersion3(_ cluster: [UInt8]) -> Bool { cluster[7] >= 3 }

    private static func hasBitmaps(_ cluster: [UInt8]) -> Bool {
        isVersion3(cluster) && cluster[bitmapsByte] & bitmapsBit != 0
    }

    private static func withoutBitmaps(_ cluster: [UInt8]) -> [UInt8] {
        var cluster = cluster
        if isVersion3(cluster) { cluster[bitmapsByte] &= ~bitmapsBit }
        return cluster
    }
}
