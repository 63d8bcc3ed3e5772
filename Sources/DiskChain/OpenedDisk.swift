// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Qcow2Format

/// A disk with everything behind it, open for reading.
package struct OpenedDisk: Sendable {
    /// A file of the backing chain.
    package struct Layer: Sendable {
        package let path: String
        package let format: ImageFormat
        package let file: any Storage
        /// The image in the file; `nil` for a raw disk.
        package let image: Qcow2File?
        /// Its external data file; `nil` where it has none.
        package internal(set) var dataFile: (any Storage)?

        /// Which backup it is; `nil` where it doesn't say.
        package var identity: BackupIdentity? { image?.identity }
    }

    package let device: any BlockDevice
    /// The files of the backing chain, top first. External data files are not among them.
    package let layers: [Layer]
    /// Length in bytes of the disk that each layer is, top first.
    package let lengths: [UInt64]
    /// What the user should know before relying on the disk, one line each.
    package let warnings: [String]

    /// The layer behind the top one; `nil` for a disk that stands alone.
    package var backing: Layer? { layers.count > 1 ? layers[1] : nil }

    /// External data files.
    package var dataFiles: [any Storage] { layers.compactMap(\.dataFile) }

    /// All files that the disk is read from.
    package var files: [any Storage] { layers.map(\.file) + dataFiles }
}

extension OpenedDisk.Layer {
    /// Whether the image's clusters may lie in holes of its file, where they read as zeroes.
    package func seemsPreallocated() async -> Bool {
        guard let image, let allocated = file.allocatedLength else { return false }
        // Broken refcounts are no reason not to read what can be read.
        do throws(BlockError) {
            return try await image.seemsPreallocated(allocatedLength: allocated)
        } catch {
            return false
        }
    }
}

extension Qcow2File {
    /// Reads and checks the header of an image; a file of another format is refused by that format's name.
    ///
    /// - Throws: `BlockError.layer` with a `Qcow2Error`, or a `ForeignFormatError`.
    package static func opened(
        _ file: any Storage, forInspection: Bool = false
    ) async throws(BlockError) -> Qcow2File {
        do throws(BlockError) {
            return try await Qcow2File(file, forInspection: forInspection)
        } catch {
            guard case .layer(let cause) = error else { throw error }
            switch (cause as? Qcow2Error)?.problem {
            case .notQcow2, .version: try await ImageFormat.refuseForeign(file)
            default: break
            }
            throw error
        }
    }

    /// Where the external data file is; `nil` for an image without one, or one that does not name it.
    package var dataFilePath: String? {
        references.dataFileName.map { ImagePath.resolve($0, relativeTo: path) }
    }
}
