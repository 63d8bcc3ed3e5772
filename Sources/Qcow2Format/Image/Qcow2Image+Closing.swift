// SPDX-License-Identifier: GPL-2.0-or-later

public import BlockIO

extension Qcow2Image {
    public func flush() async throws(BlockError) {
        guard isWritable else { return }
        // Data first, so that no table on the disk leads to what isn't there.
        try await dataFile?.flush()
        try await file.flush()
        try await metadata.changes.withLock { () async throws(BlockError) in
            try await metadata.writeBack()
        }
        try await file.flush()
    }

    /// Writes the tables and gives back what the file was given for clusters to come. Nothing may be written
    /// afterwards.
    public func close() async throws(BlockError) {
        guard isWritable else { return }
        try await dataFile?.flush()
        try await metadata.changes.withLock { () async throws(BlockError) in
            try await metadata.writeBack()
            try await metadata.trim(to: initialFileLength)
        }
        try await file.flush()
    }
}
