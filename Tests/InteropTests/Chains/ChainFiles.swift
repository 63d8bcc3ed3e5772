// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import SystemPackage
import TestSupport

enum FileSize {
    /// Bytes in a file; `nil` where there is none.
    static func of(_ path: FilePath) -> UInt64? {
        (try? FileManager.default.attributesOfItem(atPath: path.string)[.size] as? NSNumber)?.uint64Value
    }
}

enum FileLink {
    /// Makes a symbolic link.
    static func make(_ path: FilePath, to destination: String) throws {
        try FileManager.default.createSymbolicLink(atPath: path.string, withDestinationPath: destination)
    }
}

extension ChainedDisk {
    /// A big-endian number of the image.
    private static func number(_ bytes: [UInt8], _ offset: Int, _ count: Int = 8) -> Int {
        bytes[offset..<offset + count].reduce(0) { $0 << 8 | Int($1) }
    }

    /// Makes the first entry of the first bitmap's table lead out of the file.
    func breakBitmapTable() throws {
        var bytes = try directory.read("disk.qcow2")
        // Header extensions start behind the header: type, length, data filled up to eight bytes.
        var offset = Self.number(bytes, 100, 4)
        while Self.number(bytes, offset, 4) != 0x2385_2875 {
            offset += 8 + (Self.number(bytes, offset + 4, 4) + 7) / 8 * 8
        }
        let table = Self.number(bytes, Self.number(bytes, offset + 8 + 16))
        bytes[table] = 0x7F
        try directory.write(bytes, to: "disk.qcow2")
    }

    /// Where the first bytes of a compressed cluster are in an image of 64 KiB clusters and one L2 table.
    func compressedBytes(at guest: Int, of bytes: [UInt8]) -> Range<Int> {
        let mask = (1 << 56) - 512
        let table = Self.number(bytes, Self.number(bytes, 40)) & mask
        let offset = Self.number(bytes, table + (guest >> 16) * 8) & ((1 << 54) - 1)
        return offset..<offset + 16
    }

    /// Makes a compressed cluster undecodable.
    func breakCompressedCluster(at guest: Int) throws {
        var bytes = try directory.read("disk.qcow2")
        for index in compressedBytes(at: guest, of: bytes) { bytes[index] = 0xFF }
        try directory.write(bytes, to: "disk.qcow2")
    }
}
