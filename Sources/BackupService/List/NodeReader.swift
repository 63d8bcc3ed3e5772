// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BinaryCoding
import BlockIO
import DiskChain
import Qcow2Format

/// Reads what the files of a folder are, one by one: of an image the header, of a manifest the first lines.
///
/// A file is taken for an image that has the magic number of qcow2, a manifest beside it, or the name of a qcow2 image.
/// What a manifest says is raw is never taken for anything else: a guest could have written a header there.
struct NodeReader {
    /// What a file turned out to be.
    enum Finding {
        case image(ReadNode)
        case stray(FolderStray)
        /// Nothing of ours.
        case other
    }

    /// An image, with what only its header says of the one behind it.
    struct ReadNode {
        var node: BackupNode
        let identity: StorageIdentity
        var references: Qcow2References?
        var recordedParent: BackupIdentity.Parent?
    }

    private let entries: [[UInt8]: FolderEntry]

    /// - Parameter entries: by their keys.
    init(_ entries: [[UInt8]: FolderEntry]) {
        self.entries = entries
    }

    private func companion(of entry: FolderEntry, _ suffix: String) -> FolderEntry? {
        entries[entry.key + Array(suffix.utf8)]
    }

    func finding(_ entry: FolderEntry) async -> Finding {
        if entry.hasSuffix(FilePlace.partialSuffix) { return await partial(entry) }
        for (suffix, kind) in [(Manifest.suffix, FolderStray.Kind.manifest), (VerifyState.suffix, .verified)]
        where entry.hasSuffix(suffix) {
            if await isOurs(entry, kind) {
                let owner = entry.key(without: suffix)
                return entries[owner] == nil ? .stray(orphan(entry, kind, of: owner)) : .other
            }
        }
        return await image(entry)
    }

    // MARK: What belongs to backups

    /// Whether it is a manifest that waits for its name, where it can't be given it.
    private func isUsed(_ entry: FolderEntry) async -> Bool {
        let place = String(entry.path.dropLast(FilePlace.partialSuffix.count))
        guard entry.hasSuffix(Manifest.suffix + FilePlace.partialSuffix) else { return false }
        let image = String(place.dropLast(Manifest.suffix.count))
        return await PendingManifest(image: image, path: place).settle() == entry.path
    }

    private func partial(_ entry: FolderEntry) async -> Finding {
        // What verify writes anew at any time is worth no word, and what has gone since got its name.
        if entry.hasSuffix(VerifyState.suffix + FilePlace.partialSuffix) { return .other }
        if FileStamp(path: entry.path) == nil { return .other }
        if await isUsed(entry) { return .other }
        let file = try? entry.open()
        let isRunning = file?.isWrittenByOther ?? false
        // Only the mark shows that there is nothing to lose.
        var isMarked = await file?.isMarkedUnfinished() ?? false
        if !isMarked { isMarked = await file?.isBlank(upTo: Inspection.sectorLength) ?? false }
        let message =
            isRunning
            ? "is being written"
            : isMarked
                ? "is unfinished: what an interrupted run has left; it can be deleted"
                : "has the name of an unfinished backup, and may be whole: verify it, then rename or delete it"
        return .stray(
            FolderStray(
                name: entry.name, kind: isRunning ? .running : .unfinished, length: entry.length, message: message))
    }

    /// Whether a file with such a name is what the name says. Other programs have manifests too.
    private func isOurs(_ entry: FolderEntry, _ kind: FolderStray.Kind) async -> Bool {
        if kind == .verified { return await VerifyState(path: entry.path) != nil }
        guard let file = try? entry.open() else { return true }
        let bytes = try? await file.contents(at: 0, count: Int(min(file.length, 64)))
        return bytes.map { Manifest.isManifest($0) } ?? true
    }

    private func orphan(_ entry: FolderEntry, _ kind: FolderStray.Kind, of owner: [UInt8]) -> FolderStray {
        let name = String(decoding: owner, as: UTF8.self)
        let what = kind == .manifest ? "is the manifest of" : "is what verify knew of"
        return FolderStray(
            name: entry.name, kind: kind, length: entry.length, message: "\(what) \(name), which is not here")
    }

    // MARK: Images

    /// Reads a file, if it looks like an image.
    private func image(_ entry: FolderEntry) async -> Finding {
        let manifest = await manifest(of: entry)
        let isExpected =
            manifest != .missing || [".qcow2", ".qcow"].contains { entry.hasSuffix($0) }
        do throws(ServiceError) {
            let file = try entry.open()
            let recognised = try await Self.recognise(file)
            guard isExpected || recognised == .qcow2 else { return .other }
            let isRaw = manifest.header.map { $0.target.format == ImageFormat.raw.rawValue }
            return .image(await read(entry, file, manifest, as: isRaw == true ? .raw : .qcow2))
        } catch {
            guard isExpected else {
                return .stray(
                    FolderStray(
                        name: entry.name, kind: .unreadable, length: entry.length,
                        message: "can't be opened: \(Self.brief(error, entry))"))
            }
            return .image(unreadable(entry, manifest, error))
        }
    }

    /// Reads a file that an image of the folder records as its backing file.
    func parent(_ entry: FolderEntry, format: ImageFormat) async -> ReadNode {
        do throws(ServiceError) {
            return await read(entry, try entry.open(), .missing, as: format)
        } catch {
            return unreadable(entry, .missing, error)
        }
    }

    private func unreadable(_ entry: FolderEntry, _ manifest: ManifestState, _ error: ServiceError) -> ReadNode {
        var node = BackupNode(entry, format: .qcow2)
        node.problems.append(.init(.unreadable, "can't be opened: \(Self.brief(error, entry))"))
        return describe(node, entry, manifest)
    }

    private func read(
        _ entry: FolderEntry, _ file: any Storage, _ manifest: ManifestState, as format: ImageFormat
    ) async -> ReadNode {
        var node = BackupNode(entry, format: format)
        node.allocatedLength = file.allocatedLength
        node.isInUse = file.isWrittenByOther
        var image: Qcow2File?
        do throws(BlockError) {
            if format == .raw {
                node.virtualSize = try SectorDisk(file).length
            } else {
                let inspected = try await Qcow2File.opened(file, forInspection: true)
                image = inspected
                node.virtualSize = inspected.virtualSize
            }
        } catch {
            node.problems.append(await Self.problem(error, entry, file))
        }
        if let image { node.problems += await problems(of: image, file, entry) }
        let state = manifest.checked(ofImage: image?.identity?.id, virtualSize: node.virtualSize, isRaw: format == .raw)
        node.id = image?.identity?.id.description
        node.isBackup = node.id != nil
        var result = describe(node, entry, state)
        result.references = image?.references
        result.recordedParent = image?.identity?.parent
        result.node.parentName = image?.references.backingFileName
        if let header = state.header, let companion = companion(of: entry, VerifyState.suffix) {
            result.node.proof = ProofRecord(
                await VerifyState(path: companion.path), of: header, in: StoredFiles(file, image))
        }
        if result.node.proof.badRanges > 0 {
            let isMore = result.node.proof.badRanges == VerifyState.mostBad ? " or more" : ""
            result.node.problems.append(
                .init(
                    .badContent,
                    "is not as it was written: \(result.node.proof.badRanges) MiB\(isMore) of it; verify lists where"))
        }
        if result.node.proof.isDamaged {
            result.node.problems.append(.init(.badContent, "its structure is damaged, as verify found: see check"))
        }
        return result
    }

    /// Adds what the manifest says.
    private func describe(_ node: BackupNode, _ entry: FolderEntry, _ manifest: ManifestState) -> ReadNode {
        var node = node
        node.manifest = manifest
        switch manifest {
        case .missing: break
        case .damaged(let reason):
            node.isBackup = true
            node.problems.append(.init(.manifestDamaged, reason))
        case .foreign(let reason):
            node.problems.append(.init(.manifestForeign, "its manifest is not its own: \(reason)"))
        case .present(let header):
            node.isBackup = true
            node.id = node.id ?? ManifestState.short(header.id)
            node.created = header.created
            node.isDated = true
            node.sync = ManifestState.short(header.sync)
            node.parentID = header.parent?.id.map(ManifestState.short)
            if !header.unreadable.isEmpty {
                let unreadable = header.unreadable.reduce(UInt64(0)) { $0.adding($1.length) ?? .max }
                node.problems.append(
                    .init(
                        .incomplete,
                        "has zeroes where its source could not be read: \(ByteSize(unreadable)) or more"))
            }
        }
        return ReadNode(node: node, identity: entry.identity)
    }

    private func manifest(of entry: FolderEntry) async -> ManifestState {
        let place = entry.path + Manifest.suffix
        if companion(of: entry, Manifest.suffix + FilePlace.partialSuffix) != nil,
            case let path = await PendingManifest(image: entry.path, path: place).settle(), path != place
        {
            return await ManifestState(ManifestFile(path: path))
        }
        guard let file = companion(of: entry, Manifest.suffix), await isOurs(file, .manifest) else { return .missing }
        return await ManifestState(ManifestFile(path: file.path))
    }

    /// What keeps the disk of an image from being read, as far as its header shows it.
    private func problems(of image: Qcow2File, _ file: any Storage, _ entry: FolderEntry) async -> [BackupProblem] {
        var problems: [BackupProblem] = []
        if image.facts.isMarkedCorrupt { problems.append(.init(.unreadable, "is marked corrupt: see check")) }
        // An encrypted image is in order, though not for this program to read.
        if image.facts.encryption == nil {
            do throws(BlockError) {
                _ = try await Qcow2File.opened(file)
            } catch {
                problems.append(.init(.unreadable, Self.brief(ServiceError(error), entry)))
            }
        }
        if image.references.hasExternalDataFile {
            let path = image.dataFilePath
            if path.flatMap({ try? FileStatus(path: $0) }) == nil {
                problems.append(.init(.dataFileMissing, "its data file is missing: \(path ?? "it is not named")"))
            }
        }
        return problems
    }

    // MARK: Errors

    /// - Returns: `nil` for what is no disk that this program reads.
    private static func recognise(_ file: any Storage) async throws(ServiceError) -> ImageFormat? {
        do throws(BlockError) {
            return try await ImageFormat.recognised(in: file)
        } catch .layer(is ForeignFormatError) {
            return nil
        } catch {
            throw ServiceError(error)
        }
    }

    private static func problem(
        _ error: BlockError, _ entry: FolderEntry, _ file: any Storage
    ) async -> BackupProblem {
        if case .layer(let cause) = error, await Inspection.unfinished(file.name, cause as? Qcow2Error) != nil {
            return BackupProblem(
                .unfinished,
                file.isWrittenByOther
                    ? "is being written: its header comes last"
                    : "is unfinished: its first sector is blank, as an interrupted run leaves it")
        }
        return BackupProblem(.unreadable, brief(ServiceError(error), entry))
    }

    /// The message without the path, which stands beside it.
    private static func brief(_ error: ServiceError, _ entry: FolderEntry) -> String {
        let prefix = entry.path + ": "
        return error.message.hasPrefix(prefix) ? String(error.message.dropFirst(prefix.count)) : error.message
    }
}
