// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// The header extension that leads to an image's persistent bitmaps.
///
/// Spec: “Bitmaps extension”.
struct BitmapsExtension: Sendable, Equatable {
    /// Bytes of the extension's data.
    static let dataLength = 24

    /// Number of bitmaps, at least 1.
    let count: UInt32
    let directoryLength: UInt64
    let directoryOffset: UInt64

    init(count: UInt32, directoryLength: UInt64, directoryOffset: UInt64) {
        self.count = count
        self.directoryLength = directoryLength
        self.directoryOffset = directoryOffset
    }

    /// As long as any other.
    static let placeholder = BitmapsExtension(count: 1, directoryLength: 0, directoryOffset: 0)

    /// Decodes and checks an extension's data.
    ///
    /// - Parameters:
    ///   - clusterLength: in bytes.
    ///   - fileLength: bytes of the image file.
    init(decoding data: [UInt8], clusterLength: UInt64, fileLength: UInt64) throws(Qcow2Error.Problem) {
        guard data.count == Self.dataLength else {
            throw Self.broken("it has \(data.count) bytes instead of \(Self.dataLength)")
        }
        let reserved: UInt32
        do {
            let bytes = data.span.bytes
            count = try bytes.bigEndian(at: 0)
            reserved = try bytes.bigEndian(at: 4)
            directoryLength = try bytes.bigEndian(at: 8)
            directoryOffset = try bytes.bigEndian(at: 16)
        } catch {
            throw Self.broken("it is truncated")
        }
        guard reserved == 0 else { throw Self.broken("its reserved field is \(reserved) instead of 0") }
        guard count > 0 else { throw Self.broken("it counts no bitmaps") }
        guard count <= Qcow2Limits.bitmapCount else {
            throw Self.broken("\(count) bitmaps are too many: at most \(Qcow2Limits.bitmapCount)")
        }
        guard directoryLength <= Qcow2Limits.bitmapDirectoryLength else {
            throw Self.broken(
                "the bitmap directory is too large: \(directoryLength) bytes, at most "
                    + "\(Qcow2Limits.bitmapDirectoryLength)")
        }
        // Both below 2^32: the smallest entry has a name of one byte and is padded to a multiple of 8.
        guard directoryLength >= UInt64(count) * BitmapDirectoryEntry.smallestLength else {
            throw Self.broken("the bitmap directory of \(directoryLength) bytes is too small for \(count) bitmaps")
        }
        try ImageLayout.checkTable(
            .bitmapDirectory, offset: directoryOffset, length: directoryLength, clusterLength: clusterLength,
            fileLength: fileLength)
    }

    private static func broken(_ rule: String) -> Qcow2Error.Problem {
        .headerExtension(type: HeaderExtension.bitmaps, rule: rule)
    }

    func encoded() -> HeaderExtension {
        var data: [UInt8] = []
        data.appendBigEndian(count)  // 0: nb_bitmaps
        data.appendBigEndian(UInt32(0))  // 4: reserved
        data.appendBigEndian(directoryLength)  // 8: bitmap_directory_size
        data.appendBigEndian(directoryOffset)  // 16: bitmap_directory_offset
        return HeaderExtension(type: HeaderExtension.bitmaps, data: data)
    }
}
