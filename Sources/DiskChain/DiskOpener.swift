// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Qcow2Format

/// Opens a disk for reading, with its backing chain.
///
/// The format of the disk itself may be recognised by its magic number. That of a backing file never is: it is what the
/// image records or the user says, because a guest that writes to a raw disk could make it look like an image that names
/// any file of the host.
package struct DiskOpener: Sendable {
    /// Format of backing files that record none; `nil` refuses them.
    package var backingFormat: ImageFormat?
    /// How other programs are told of the use.
    package var lock: ImageLockMode?
    /// Whether the disk's own file is opened so that it can be changed, with the lock of a writer: for its bitmaps, while
    /// the disk itself is only read. The files behind it are opened for reading either way.
    package var changesBitmaps: Bool
    /// Where the files are that images name; `nil` for where the images say.
    package var folder: ChainFolder?

    package init(
        backingFormat: ImageFormat? = nil, lock: ImageLockMode? = .readOnlySource, changesBitmaps: Bool = false,
        folder: ChainFolder? = nil
    ) {
        self.backingFormat = backingFormat
        self.lock = lock
        self.changesBitmaps = changesBitmaps
        self.folder = folder
    }

    /// Most images that a chain may have.
    package static let longestChain = 256

    /// Bytes of tables that the images of a chain keep in memory together. A disk is read from front to back: little of
    /// each table is wanted twice.
    private static let chainCacheLength = 16 << 20

    /// What has been opened on the way down a chain.
    private struct Chain {
        var layers: [OpenedDisk.Layer] = []
        var warnings: [String] = []
    }

    /// Opens the disk in a file.
    ///
    /// - Parameters:
    ///   - format: `nil` recognises it.
    ///   - snapshot: name or id of the internal snapshot to read instead of the active state.
    package func open(
        _ path: String, format: ImageFormat? = nil, snapshot: String? = nil
    ) async throws(ChainError) -> OpenedDisk {
        var chain = Chain()
        try await follow(path, format: format, role: .disk, into: &chain)
        if snapshot != nil, chain.layers[0].format == .raw { throw .noSnapshots(path: path) }
        return try await stack(chain, snapshot: snapshot)
    }

    /// Opens what lies behind an image whose own file is open already; `nil` for an image that stands alone.
    package func openBacking(of image: Qcow2File) async throws(ChainError) -> OpenedDisk? {
        guard let name = image.references.backingFileName else { return nil }
        var chain = Chain()
        let (path, format) = try backing(name, recorded: image.references.backingFormat, of: image.path)
        try await follow(path, format: format, role: .backingFile(of: image.path), into: &chain)
        return try await stack(chain)
    }

    private func stack(_ chain: Chain, snapshot: String? = nil) async throws(ChainError) -> OpenedDisk {
        var warnings = chain.warnings
        let cacheLength = min(Qcow2Image.defaultCacheLength, Self.chainCacheLength / chain.layers.count)
        // From the bottom up, each on top of what lies behind it.
        var device: (any BlockDevice)?
        var lengths: [UInt64] = []
        for (index, layer) in chain.layers.enumerated().reversed() {
            let role = Self.role(of: index, in: chain.layers)
            let backing = device
            device = try await Self.wrap(layer.path, role) { () async throws(BlockError) -> any BlockDevice in
                guard let image = layer.image else { return try SectorDisk(layer.file) }
                return try await image.open(
                    snapshot: index == 0 ? snapshot : nil, dataFile: layer.dataFile, backing: backing,
                    looksForHoles: await layer.seemsPreallocated(), cacheLength: cacheLength)
            }
            lengths.append(device?.length ?? 0)
            if let warning = (device as? Qcow2Image)?.warning { warnings.append(warning) }
        }
        guard let device else { preconditionFailure("a chain has at least one layer") }
        return OpenedDisk(
            device: device, layers: chain.layers, lengths: lengths.reversed(), warnings: warnings)
    }

    private static func role(of index: Int, in layers: [OpenedDisk.Layer]) -> ChainError.Role {
        index == 0 ? .disk : .backingFile(of: layers[index - 1].path)
    }

    /// Opens file after file until one has no backing file.
    private func follow(
        _ path: String, format: ImageFormat?, role: ChainError.Role, into chain: inout Chain
    ) async throws(ChainError) {
        var path = path
        var format = format
        while true {
            let role: ChainError.Role = chain.layers.last.map { .backingFile(of: $0.path) } ?? role
            try checkName(of: path, in: chain)
            let file = try await open(path, role)
            guard !chain.layers.contains(where: { $0.file.identity == file.identity }) else {
                throw .loop(path: path)
            }
            guard chain.layers.count < Self.longestChain else { throw .tooDeep(limit: Self.longestChain) }
            note(file, in: &chain)
            let actual: ImageFormat
            if let format { actual = format } else { actual = try await recognise(file, role) }
            guard actual == .qcow2 else {
                return chain.layers.append(OpenedDisk.Layer(path: path, format: actual, file: file, image: nil))
            }
            let image = try await Self.wrap(path, role) { () async throws(BlockError) in
                try await Qcow2File.opened(file)
            }
            chain.layers.append(OpenedDisk.Layer(path: path, format: actual, file: file, image: image))
            chain.warnings += image.warnings
            try await openDataFile(of: image, at: path, into: &chain)
            guard let name = image.references.backingFileName else { return }
            (path, format) = try backing(name, recorded: image.references.backingFormat, of: path)
        }
    }

    /// Refuses a name that has been looked for in the folder before, or that the disk itself has: recorded with other
    /// folders, they were different files.
    private func checkName(of path: String, in chain: Chain) throws(ChainError) {
        guard let folder else { return }
        let name = ChainFolder.lastPart(of: path)
        let names = chain.layers.flatMap { [$0.path] + ($0.dataFile.map { [$0.name] } ?? []) }
            .map(ChainFolder.lastPart)
        // Strings that are equal as text may be different names of files.
        guard !names.contains(where: { $0.utf8.elementsEqual(name.utf8) }) else {
            throw .ambiguousName(name, folder: folder.path)
        }
    }

    private func open(_ path: String, _ role: ChainError.Role) async throws(ChainError) -> any Storage {
        try await Self.wrap(path, role) { () async throws(BlockError) in
            if changesBitmaps, role == .disk {
                return try LocalStorage.open(path, access: .readWrite, lock: .writable)
            }
            return try LocalStorage.open(path, access: .readOnly, lock: lock)
        }
    }

    private func note(_ file: any Storage, in chain: inout Chain) {
        if let warning = file.lockWarning("make sure that nothing writes to it") { chain.warnings.append(warning) }
    }

    private func recognise(_ file: any Storage, _ role: ChainError.Role) async throws(ChainError) -> ImageFormat {
        try await Self.wrap(file.name, role) { () async throws(BlockError) in
            try await ImageFormat.recognised(in: file)
        }
    }

    private func openDataFile(
        of image: Qcow2File, at path: String, into chain: inout Chain
    ) async throws(ChainError) {
        guard image.references.hasExternalDataFile else { return }
        guard let dataPath = dataPath(of: image) else { throw .dataFileNotNamed(image: path) }
        try checkName(of: dataPath, in: chain)
        let file = try await open(dataPath, .dataFile(of: path))
        note(file, in: &chain)
        chain.layers[chain.layers.count - 1].dataFile = file
    }

    /// Where the backing file of an image is, and what format it has, by what the image records.
    ///
    /// - Parameter name: as recorded.
    package func backing(
        of image: Qcow2File, named name: String
    ) throws(ChainError) -> (path: String, format: ImageFormat) {
        try backing(name, recorded: image.references.backingFormat, of: image.path)
    }

    /// Where the backing file is, and what format it has.
    private func backing(
        _ name: String, recorded: String?, of image: String
    ) throws(ChainError) -> (path: String, format: ImageFormat) {
        let reference: BackingReference
        do {
            reference = try BackingReference(name)
        } catch {
            throw .unusableBackingName(name, of: image, reason: error.reason)
        }
        let path = try path(of: reference, namedAs: name, in: image)
        // What the image records counts, as in QEMU, whatever a description says.
        if let text = recorded ?? reference.format {
            guard let format = ImageFormat(rawValue: text) else {
                throw .unsupportedFormat(path: path, format: text)
            }
            return (path, format)
        }
        guard let backingFormat else { throw .unknownBackingFormat(backing: path, of: image) }
        return (path, backingFormat)
    }

    private func path(
        of reference: BackingReference, namedAs name: String, in image: String
    ) throws(ChainError) -> String {
        guard let folder else { return ImagePath.resolve(reference.path, relativeTo: image) }
        guard let path = folder.path(of: reference.path) else {
            throw .unusableBackingName(name, of: image, reason: "it ends in no name to look for in \(folder.path)")
        }
        return path
    }

    private func dataPath(of image: Qcow2File) -> String? {
        guard let folder else { return image.dataFilePath }
        return image.references.dataFileName.flatMap(folder.path(of:))
    }

    private static func wrap<Result>(
        _ path: String, _ role: ChainError.Role, _ body: () async throws(BlockError) -> Result
    ) async throws(ChainError) -> Result {
        do {
            return try await body()
        } catch {
            throw .file(path: path, role: role, error)
        }
    }
}
