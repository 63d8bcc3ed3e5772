// SPDX-License-Identifier: GPL-2.0-or-later

public import BlockIO

/// An image file whose header has been read and checked.
public struct Qcow2File: Sendable {
    public let references: Qcow2References
    public let virtualSize: UInt64
    /// What the user should know before relying on the image.
    public private(set) var warnings: [String]

    /// The image's own path.
    public var path: String { file.name }
    public var compressionType: CompressionType { layout.compressionType }
    /// Which backup the image is; `nil` where it doesn't say.
    public var identity: BackupIdentity? {
        guard var identity = header.identity else { return nil }
        // After a rebase, what it was made on is not what it is on.
        if identity.parent?.nameStamp != BackupIdentity.stamp(of: header.backingFileName) { identity.parent = nil }
        return identity
    }
    /// Where the external data file is; `nil` for an image without one, or one that does not name it.
    public var dataFilePath: String? {
        references.dataFileName.map { ImagePath.resolve($0, relativeTo: path) }
    }

    let file: any StorageDevice
    let header: HeaderCluster
    let layout: ImageLayout

    /// Reads and checks the header.
    ///
    /// - Parameter forInspection: whether only the image itself is looked at: then its data may be encrypted, the names
    ///   of other files need not be text, and the file may end before its tables. `open` may fail all the same.
    /// - Throws: `BlockError.layer` with a `Qcow2Error`, or a `ForeignFormatError`.
    public init(_ file: any StorageDevice, forInspection: Bool = false) async throws(BlockError) {
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
            switch error {
            // Better told by the name of what it is.
            case .notQcow2, .version: try await ImageFormat.refuseForeign(file)
            default: break
            }
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
    static func headerBytes(of file: any StorageDevice) async throws(BlockError) -> [UInt8] {
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
