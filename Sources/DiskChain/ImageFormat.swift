// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import Qcow2Format

/// How a file holds a disk.
package enum ImageFormat: String, Sendable, CaseIterable {
    case raw
    case qcow2

    /// The format that a file's first bytes show.
    ///
    /// - Throws: `BlockError.layer` with a `ForeignFormatError` for what is neither.
    package static func recognised(in file: any Storage) async throws(BlockError) -> ImageFormat {
        if try await hasQcow2Magic(file) { return .qcow2 }
        try await refuseForeign(file)
        return .raw
    }

    /// Refuses a file by the name of its format, where that is known and none that this program reads. Of those of which
    /// the user says that they are raw, nothing is asked.
    package static func refuseForeign(_ file: any Storage) async throws(BlockError) {
        guard let format = try await ForeignFormat.recognised(in: file) else { return }
        throw .layer(ForeignFormatError(path: file.name, format: format))
    }

    private static func hasQcow2Magic(_ file: any Storage) async throws(BlockError) -> Bool {
        guard file.length >= 8 else { return false }
        let bytes = try await file.contents(at: 0, count: 8)
        let magic: UInt32? = try? bytes.span.bytes.bigEndian(at: 0)
        let version: UInt32? = try? bytes.span.bytes.bigEndian(at: 4)
        // The first version of the format has the same magic, and nothing else in common.
        return magic == Qcow2File.magic && version != 1
    }
}
