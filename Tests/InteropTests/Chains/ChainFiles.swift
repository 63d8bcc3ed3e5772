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
    /// Makes the first entry of the first bitmap's table lead out of the file.
    func breakBitmapTable() throws {
        var bytes = try directory.read("disk.qcow2")
        func number(_ offset: Int, _ count: Int) -> Int {
            bytes[offset..<offset + count].reduce(0) { $0 << 8 | Int($1) }
        }
        // Header extensions start behind the header: type, length, data filled up to eight bytes.
        var offset = number(100, 4)
        while number(offset, 4) != 0x2385_2875 { offset += 8 + (number(offset + 4, 4) + 7) / 8 * 8 }
        let directory = number(offset + 8 + 16, 8)
        let table = number(directory, 8)
        bytes[table] = 0x7F
        try self.directory.write(bytes, to: "disk.qcow2")
    }
}
