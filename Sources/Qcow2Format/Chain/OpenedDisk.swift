// SPDX-License-Identifier: GPL-2.0-or-later

public import BlockIO

/// A disk with everything behind it, open for reading.
public struct OpenedDisk: Sendable {
    /// A file of the backing chain.
    public struct Layer: Sendable {
        public let path: String
        public let format: ImageFormat
        public let file: FileDevice
        /// The image in the file; `nil` for a raw disk.
        public let image: Qcow2File?
        /// Its external data file; `nil` where it has none.
        public internal(set) var dataFile: FileDevice?

        /// Which backup it is; `nil` where it doesn't say.
        public var identity: BackupIdentity? { image?.identity }
    }

    public let device: any BlockDevice
    /// The files of the backing chain, top first. External data files are not among them.
    public let layers: [Layer]
    /// Length in bytes of the disk that each layer is, top first.
    public let lengths: [UInt64]
    /// What the user should know before relying on the disk, one line each.
    public let warnings: [String]

    /// The layer behind the top one; `nil` for a disk that stands alone.
    public var backing: Layer? { layers.count > 1 ? layers[1] : nil }

    /// External data files.
    public var dataFiles: [FileDevice] { layers.compactMap(\.dataFile) }

    /// All files that the disk is read from.
    public var files: [FileDevice] { layers.map(\.file) + dataFiles }
}
