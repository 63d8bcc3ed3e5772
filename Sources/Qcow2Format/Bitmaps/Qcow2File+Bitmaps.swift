// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

extension Qcow2File {
    /// Opens the image's persistent bitmaps.
    ///
    /// Reads the directory, not the bits. Nothing is written before the first change.
    ///
    /// - Parameters:
    ///   - forWriting: whether they are going to be changed: the file must then be writable, and nobody else may write to
    ///     it, neither to the bitmaps nor to the disk.
    ///   - checksReferences: whether to read all L2 tables before that, so that no cluster of the disk that counts as free
    ///     by mistake is taken for bits. QEMU doesn't.
    /// - Throws: `BlockError.layer` with a `Qcow2Error` where the directory breaks the format, or the image can't be
    ///   written.
    package func openBitmaps(
        forWriting: Bool = false, checksReferences: Bool = true
    ) async throws(BlockError) -> PersistentBitmaps {
        let reader = BitmapReader(file: file, layout: layout)
        var state = PersistentBitmaps.State(entries: [])
        if header.hasBitmaps {
            let location = try bitmapsExtension()
            state.entries = try await reader.directory(location)
            state.location = location
            state.origins = header.bitmapOrigins
        }
        guard forWriting else { return PersistentBitmaps(reader: reader, metadata: nil, state: state) }
        guard layout.version >= 3 else {
            throw failure(.notWritable(reason: "version 2 images can't have bitmaps (qemu-img amend -o compat=1.1)"))
        }
        // Files of users are not to grow by more than they need. References are checked once it is known where bitmaps are.
        let (metadata, _) = try await openMetadata(
            forWriting: true, checksReferences: false, growthStep: layout.geometry.clusterLength)
        metadata.state.withLock { $0.header.clearUnkeptFeatures(keepsBitmaps: true) }
        let bitmaps = PersistentBitmaps(reader: reader, metadata: metadata, state: state)
        try await bitmaps.checkClusters(checksReferences: checksReferences)
        return bitmaps
    }

    /// What to know of bitmaps that are no longer valid; `nil` where there are none.
    static func warning(ofStaleBitmapsIn header: HeaderCluster, path: String) -> String? {
        guard header.data(of: HeaderExtension.bitmaps) != nil, !header.hasBitmaps else { return nil }
        return
            "\(path): a program that doesn't know dirty bitmaps has written to the image: its bitmaps are inconsistent "
            + "and are ignored; their clusters leak until qcowbackup check -r leaks frees them"
    }

    private func bitmapsExtension() throws(BlockError) -> BitmapsExtension {
        let all = header.extensions.filter { $0.type == HeaderExtension.bitmaps }
        do throws(Qcow2Error.Problem) {
            guard all.count == 1 else {
                throw .headerExtension(type: HeaderExtension.bitmaps, rule: "it comes \(all.count) times")
            }
            return try BitmapsExtension(
                decoding: all[0].data, clusterLength: layout.geometry.clusterLength, fileLength: file.length)
        } catch {
            throw failure(error)
        }
    }
}
