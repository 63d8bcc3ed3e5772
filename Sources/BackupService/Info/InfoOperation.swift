// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DiskChain
import Qcow2Format

/// One run of the info command.
///
/// Of each image only the header and what it lists are read, so that images can be told of whose disk can't be read: the
/// backing file or the data file is missing, the data is encrypted, tables are broken.
package struct InfoOperation: Sendable {
    private let request: InfoRequest
    private let warn: @Sendable (String) -> Void

    /// - Parameter warn: called with one line for each thing that the user should know and that stops nothing.
    package init(_ request: InfoRequest, warn: @escaping @Sendable (String) -> Void) {
        self.request = request
        self.warn = warn
    }

    /// - Throws: `ServiceError` where the image, or one of its chain, can't be opened.
    package func run() async throws(ServiceError) -> InfoReport {
        try await Inspection.run { () async throws(ServiceError) in try await report() }
    }

    private func report() async throws(ServiceError) -> InfoReport {
        var report = InfoReport(images: [], problems: [])
        var seen: Set<StorageIdentity> = []
        var path = request.image
        var format = request.format
        while true {
            let file = try open(path)
            guard seen.insert(file.identity).inserted else { throw ServiceError(ChainError.loop(path: path)) }
            guard report.images.count < DiskOpener.longestChain else {
                throw ServiceError(ChainError.tooDeep(limit: DiskOpener.longestChain))
            }
            let actual: ImageFormat
            if let format { actual = format } else { actual = try await recognise(file) }
            guard actual == .qcow2 else {
                report.images.append(try await raw(file))
                return report
            }
            let image = try await openImage(file)
            report.images.append(await describe(image, file, problems: &report.problems))
            guard request.followsChain, let next = try backing(of: image) else { return report }
            (path, format) = next
        }
    }

    // MARK: One image

    private func raw(_ file: any Storage) async throws(ServiceError) -> ImageReport {
        let disk: SectorDisk
        do throws(BlockError) { disk = try SectorDisk(file) } catch { throw ServiceError(error) }
        var report = ImageReport(
            path: file.name, format: .raw, virtualSize: disk.length, actualSize: file.allocatedLength)
        report.manifest = await ManifestReport(besides: file, nil, virtualSize: disk.length)
        report.hasBlankHead = await Inspection.hasBlankHead(file)
        let isMarked = await file.isMarkedUnfinished()
        report.isUnfinished = isMarked || (report.hasBlankHead && Inspection.isPartial(file.name))
        return report
    }

    private func describe(
        _ image: Qcow2File, _ file: any Storage, problems: inout [ServiceError]
    ) async -> ImageReport {
        let name = image.references.backingFileName
        var qcow2 = ImageReport.Qcow2(facts: image.facts)
        qcow2.dataFileName = image.references.dataFileName
        qcow2.identity = image.identity
        qcow2.hasDataFile = image.references.hasExternalDataFile
        do throws(BlockError) { qcow2.snapshots = try await image.snapshots() } catch { problems.append(.init(error)) }
        do throws(BlockError) {
            qcow2.bitmaps = try await image.openBitmaps().list
        } catch {
            problems.append(.init(error))
        }
        do throws(BlockError) { qcow2.luks = try await image.encryptionHeader() } catch {
            problems.append(.init(error))
        }
        if image.facts.encryption == nil { await checkReadable(file) }
        let manifest = await ManifestReport(besides: file, image, virtualSize: image.virtualSize)
        return ImageReport(
            path: file.name, format: .qcow2, virtualSize: image.virtualSize, actualSize: file.allocatedLength,
            backingFileName: name, fullBackingFileName: name.map { Self.fullName($0, relativeTo: file.name) },
            backingFormat: image.references.backingFormat, qcow2: qcow2, manifest: manifest,
            isUnfinished: Inspection.isPartial(file.name))
    }

    /// Warns of what keeps the image's disk from being read, as far as its header shows it.
    private func checkReadable(_ file: any Storage) async {
        do throws(BlockError) {
            _ = try await Qcow2File.opened(file)
        } catch {
            warn(ServiceError(error).message)
        }
    }

    /// Where a backing file is, as QEMU writes it: descriptions and names with a protocol stay as they are.
    static func fullName(_ name: String, relativeTo image: String) -> String {
        if let colon = name.firstIndex(of: ":"), !name[..<colon].contains("/") { return name }
        return ImagePath.resolve(name, relativeTo: image)
    }

    /// The path of the backing file, and its format; `nil` for an image that stands alone.
    private func backing(of image: Qcow2File) throws(ServiceError) -> (path: String, format: ImageFormat?)? {
        guard let name = image.references.backingFileName else { return nil }
        return try translated { () throws(ChainError) in
            guard image.references.hasTextualBackingFileName else {
                throw .unusableBackingName(name, of: image.path, reason: "the name is not UTF-8 text")
            }
            let (path, format) = try DiskOpener(backingFormat: request.backingFormat).backing(of: image, named: name)
            return (path, format)
        }
    }

    // MARK: Calls below, with their errors translated

    private func open(_ path: String) throws(ServiceError) -> any Storage {
        return try translated { () throws(BlockError) in
            let lock: ImageLockMode = request.forceShare ? .forcedShare : .readOnlySource
            let file = try LocalStorage.open(path, access: .readOnly, lock: lock)
            if let warning = file.lockWarning("what is shown may be changing") { warn(warning) }
            return file
        }
    }

    private func recognise(_ file: any Storage) async throws(ServiceError) -> ImageFormat {
        try await translated { () async throws(BlockError) in try await ImageFormat.recognised(in: file) }
    }

    private func openImage(_ file: any Storage) async throws(ServiceError) -> Qcow2File {
        do throws(BlockError) {
            return try await Qcow2File.opened(file, forInspection: true)
        } catch {
            if case .layer(let cause) = error,
                let problem = await Inspection.unfinished(file.name, cause as? Qcow2Error)
            {
                throw problem
            }
            throw ServiceError(error)
        }
    }
}

/// What to tell of an image.
package struct InfoRequest: Sendable {
    package var image: String
    /// `nil` recognises it.
    package var format: ImageFormat?
    /// Format of backing files that record none; `nil` refuses to follow them.
    package var backingFormat: ImageFormat?
    /// Whether to tell of everything behind the image as well.
    package var followsChain = false
    /// Read although another process writes to the image.
    package var forceShare = false

    package init(image: String) {
        self.image = image
    }
}
