// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// An open qcow2 image, as the disk that it holds.
///
/// Guest bytes are found through the L1 and L2 tables in this file or, where it leaves them unallocated, in the backing
/// device. Open for writing, the image allocates as it goes; `close()` writes the tables, and nothing in the file is
/// consistent before that: whoever makes or changes an image keeps its header off the disk until then
/// (`HeadLastDevice`).
package final class Qcow2Image: BlockDevice {
    /// Bytes of tables that an image keeps in memory where nothing else is asked for.
    package static let defaultCacheLength = 4 << 20

    /// The file that holds the tables and, without an external data file, the clusters.
    package let file: any Storage
    package let dataFile: (any Storage)?
    package let backing: (any BlockDevice)?
    package let length: UInt64
    package let compressionType: CompressionType
    package let isWritable: Bool
    /// Whether data clusters may lie in holes of the file, where they read as zeroes, and nobody writes them.
    let looksForHoles: Bool
    /// How compressed clusters are written.
    let compression: CompressionSettings

    let metadata: Qcow2Metadata
    /// Keeps writes to the same cluster apart.
    let writes = RangeLock()
    let decompression = Pool<DecompressionContext>()
    let compressors = Pool<CompressionContext>()
    /// Length in bytes of the file before it was opened or laid out.
    let initialFileLength: UInt64

    init(
        metadata: Qcow2Metadata, length: UInt64, dataFile: (any Storage)?, backing: (any BlockDevice)?,
        isWritable: Bool, looksForHoles: Bool = false, compression: CompressionSettings?, initialFileLength: UInt64
    ) {
        file = metadata.file
        self.metadata = metadata
        self.length = length
        self.dataFile = dataFile
        self.backing = backing
        self.isWritable = isWritable
        // What is being written must be read to be known.
        self.looksForHoles = looksForHoles && !isWritable
        compressionType = metadata.layout.compressionType
        self.compression = compression ?? CompressionSettings(type: metadata.layout.compressionType)
        self.initialFileLength = initialFileLength
    }

    package var name: String { file.name }

    package var capabilities: DeviceCapabilities {
        DeviceCapabilities(
            isReadOnly: !isWritable, hasBackingFile: metadata.state.withLock { $0.header.backingFileName } != nil,
            canWriteCompressed: isWritable && dataFile == nil,
            canCopyRange: isWritable && storage.capabilities.canCopyRange)
    }

    package func clusterSize() async throws(BlockError) -> UInt64 { geometry.clusterLength }

    var geometry: ClusterGeometry { metadata.geometry }

    /// Where data clusters are.
    var storage: any Storage { dataFile ?? file }

    func failure(_ problem: Qcow2Error.Problem) -> BlockError { metadata.failure(problem) }
}
