// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DiskChain
import Qcow2Format

/// The files in which a backup lies, as they were at one time: its own, and its external data file.
struct StoredFiles: Sendable, Equatable, Codable {
    private let stamps: [FileStamp]

    /// - Parameter stamps: `nil` for what tells nothing, such as a block device.
    /// - Returns: `nil` where one tells nothing: then nothing that was found earlier is known to be so still.
    init?(_ stamps: [FileStamp?]) {
        let known = stamps.compactMap(\.self)
        guard known.count == stamps.count else { return nil }
        self.stamps = known
    }

    init?(_ layer: OpenedDisk.Layer) {
        self.init([layer.file.stamp] + (layer.dataFile.map { [$0.stamp] } ?? []))
    }

    /// - Parameter image: in the file; `nil` for a raw disk.
    init?(_ file: any Storage, _ image: Qcow2File?) {
        var stamps = [file.stamp]
        if let image, image.references.hasExternalDataFile {
            stamps.append(image.dataFilePath.flatMap { FileStamp(path: $0) })
        }
        self.init(stamps)
    }

    init(from decoder: any Decoder) throws {
        stamps = try decoder.singleValueContainer().decode([FileStamp].self)
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(stamps)
    }
}
