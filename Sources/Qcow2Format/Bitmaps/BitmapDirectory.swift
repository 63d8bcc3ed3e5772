// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// The bitmap directory: one entry of variable length for each persistent bitmap.
///
/// Spec: “Bitmap directory”.
enum BitmapDirectory {
    /// Decodes and checks a directory.
    ///
    /// - Parameters:
    ///   - bytes: all of the directory, and nothing else.
    ///   - count: number of entries that there must be.
    ///   - diskLength: virtual size in bytes.
    ///   - fileLength: bytes of the image file.
    static func decode(
        _ bytes: [UInt8], count: UInt32, diskLength: UInt64, clusterLength: UInt64, fileLength: UInt64
    ) throws(Qcow2Error.Problem) -> [BitmapDirectoryEntry] {
        var entries: [BitmapDirectoryEntry] = []
        var names: Set<[UInt8]> = []
        var offset = 0
        for _ in 0..<count {
            let entry = try BitmapDirectoryEntry(decoding: bytes.span.bytes, at: offset)
            try entry.checkTable(
                shape: BitmapShape(
                    diskLength: diskLength, granularityBits: entry.granularityBits, clusterLength: clusterLength),
                fileLength: fileLength)
            guard names.insert(entry.nameBytes).inserted else {
                throw entry.broken("there are two of this name")
            }
            entries.append(entry)
            offset += entry.encodedLength
        }
        guard offset == bytes.count else {
            throw .bitmapDirectory(
                rule: "its \(count) entries have \(offset) bytes, and the header says \(bytes.count)")
        }
        return entries
    }

    /// - Throws: `.tooLarge`.
    static func encode(_ entries: [BitmapDirectoryEntry]) throws(Qcow2Error.Problem) -> [UInt8] {
        guard entries.count <= Int(Qcow2Limits.bitmapCount) else {
            throw .tooLarge(what: "a number of \(entries.count) bitmaps", limit: "at most \(Qcow2Limits.bitmapCount)")
        }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(entries.reduce(0) { $0 + $1.encodedLength })
        for entry in entries { entry.append(to: &bytes) }
        guard UInt64(bytes.count) <= Qcow2Limits.bitmapDirectoryLength else {
            throw .tooLarge(
                what: "the bitmap directory of \(bytes.count) bytes",
                limit: "at most \(Qcow2Limits.bitmapDirectoryLength); use shorter names")
        }
        return bytes
    }
}
