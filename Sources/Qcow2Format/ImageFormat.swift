// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
public import BlockIO

/// How a file holds a disk.
public enum ImageFormat: String, Sendable, CaseIterable {
    case raw
    case qcow2

    /// The format that a file's first bytes show.
    public static func recognised(in file: any StorageDevice) async throws(BlockError) -> ImageFormat {
        guard file.length >= 4 else { return .raw }
        let bytes = try await file.contents(at: 0, count: 4)
        let magic: UInt32? = try? bytes.span.bytes.bigEndian(at: 0)
        return magic == Qcow2Header.magic ? .qcow2 : .raw
    }
}
