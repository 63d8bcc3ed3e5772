// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// An image file whose header has been read and checked.
package struct Qcow2File: Sendable {
    /// What the first four bytes say, big-endian. The first version of the format, which is another one, has it too.
    package static let magic = Qcow2Header.magic

    package let references: Qcow2References
    package let virtualSize: UInt64
    /// What the user should know before relying on the image.
    package private(set) var warnings: [String]

    /// The image's own path.
    package var path: String { file.name }
    package var compressionType: CompressionType { layout.compressionType }
    /// Which backup the image is; `nil` where it doesn't say.
    package var identity: BackupIdentity? {
        guard var identity = header.identity else { return nil }
        // After a rebase, what it was made on is not what it is on.
        if identity.parent?.nameStamp != BackupIdentity.stamp(of: header.backingFileName) { identity.parent = nil }
        return identity
    }

    let file: any Storage
    let header: HeaderCluster
    let layout: ImageLayout

    /// Reads and checks the header.
    ///
    /// - Parameter forInspection: whether only the image itself is looked at: then its data may be encrypted, the names
    ///   of other files need not be text, and the file may end before its tables. `open` may fail all the same.
    /// - Throws: `BlockError.layer` with a `Qcow2Error`.
    package init(_ file: any Storage, forInspection: Bool = false) async throws(BlockError) {
        let bytes = try await Self.headerBytes(of: file)
        do throws(Qcow2Error.Problem) {
            let fields = try Qcow2Header(decoding: bytes.span.bytes)
            try ImageLayout.checkClusterBits(fields)
            header = try HeaderCluster(header: fields, decoding: bytes.span.bytes)
            layout = try ImageLayout(
                fields, names: FeatureNameTable(data: header.data(of: HeaderExtension.featureNameTable) ?? []),
                fileLength: file.length, forInspection: forInspection)
            if !forInspection { try Self.checkNames(in: header) }
        } catch {
            throw .layer(Qcow2Error(image: file.name, error))
        }
        self.file = file
        virtualSize = layout.size
        references = Qcow2References(
            backingFileName: header.backingFileName,
            hasTextualBackingFileName: header.hasTextualBackingFileName,
            backingFormat: header.data(of: HeaderExtension.backingFormat).map { String(decoding: $0, as: UTF8.self) },
            // The feature decides; a name alone is left over from something.
            dataFileName: layout.hasExternalDataFile
                ? header.data(of: HeaderExtension.externalDataFile).map { String(decoding: $0, as: UTF8.self) } : nil,
            hasExternalDataFile: layout.hasExternalDataFile)
        warnings =
            (header.header.incompatibleFeatures.contains(.corrupt)
                ? ["\(file.name): the image is marked corrupt; what is read may be wrong"] : [])
            + (Self.warning(ofStaleBitmapsIn: header, path: file.name).map { [$0] } ?? [])
        if !forInspection, let problem = refcountTableProblem {
            warnings.append(
                "\(file.name): \(problem): the disk can be read all the same; qcowbackup check -r all repairs that")
        }
    }

    /// Refuses names of other files that would have to be changed to be followed, and could then lead to another file.
    private static func checkNames(in header: HeaderCluster) throws(Qcow2Error.Problem) {
        guard header.hasTextualBackingFileName else {
            throw .headerField(
                name: "backing_file_offset", value: header.header.backingFileOffset,
                rule: "the backing file name there is not UTF-8 text: rename the file, then use qemu-img rebase -u")
        }
        guard header.data(of: HeaderExtension.externalDataFile).map(HeaderCluster.isText) ?? true else {
            throw .headerExtension(
                type: HeaderExtension.externalDataFile, rule: "the name of the data file is not UTF-8 text")
        }
    }

    /// The first cluster, or what there is of the largest it could be.
    static func headerBytes(of file: any Storage) async throws(BlockError) -> [UInt8] {
        // Enough for the fields; then the cluster, whose size they tell.
        var count = min(file.length, UInt64(Qcow2Header.fullLength))
        var bytes = try await file.contents(at: 0, count: Int(count))
        if let fields = try? Qcow2Header(decoding: bytes.span.bytes), (try? ImageLayout.checkClusterBits(fields)) != nil
        {
            count = min(file.length, 1 << UInt64(fields.clusterBits))
            bytes = try await file.contents(at: 0, count: Int(count))
        }
        return bytes
    }

    func failure(_ problem: Qcow2Error.Problem) -> BlockError {
        .layer(Qcow2Error(image: file.name, problem))
    }
}

/// What an image's header says about other files, read before the image is opened.
package struct Qcow2References: Sendable, Equatable {
    /// As recorded; `nil` for an image that stands alone.
    package let backingFileName: String?
    /// Whether the backing file's name is text. Others can be shown, not followed.
    package let hasTextualBackingFileName: Bool
    /// `nil` where the image records none.
    package let backingFormat: String?
    /// As recorded; `nil` for an image without an external data file, or one that does not name it.
    package let dataFileName: String?
    package let hasExternalDataFile: Bool
}
