// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DiskChain
import Qcow2Format
import SystemPackage

/// The backup that an increment goes on, open with all that lies behind it.
struct ParentChain: Sendable {
    let disk: OpenedDisk
    /// Its own path, from the root on.
    let path: String
    /// What the increment records as the name of its backing file.
    let name: String
    var format: ImageFormat { disk.layers[0].format }

    /// Opens the parent, and makes sure that it can be one.
    ///
    /// - Parameters:
    ///   - request: says where the parent is, and its format: `nil` for qcow2. That is never recognised, because the guest
    ///     of a raw disk could make it look like an image.
    ///   - source: the disk that is backed up.
    /// - Throws: `ServiceError`: it is missing, unfinished, in use, or part of the source; its chain has a gap or a loop.
    init(_ request: BackupRequest, for source: OpenedDisk) async throws(ServiceError) {
        guard let named = request.parent else { throw request.parentMissing }
        let folder = request.chainFolder.map { ChainFolder(path: $0) }
        let path = Self.place(of: named, in: folder)
        try Self.check(path, against: source)
        let opener = DiskOpener(folder: folder)
        do throws(ChainError) {
            disk = try await opener.open(path, format: request.parentFormat ?? .qcow2)
        } catch {
            throw Self.unopened(error, path, source, folder)
        }
        let top = source.layers[0].file.identity
        if let file = disk.files.first(where: { $0.identity == top }) {
            throw Self.leadsToSource(path, by: file.name)
        }
        let isFixed = disk.layers[0].file.isFixed
        self.path = try ServicePath.recorded(path, isFixed: isFixed)
        name = try BackingName(request).name(of: self.path, isFixed: isFixed, isIncrement: true)
    }

    /// Where a parent is: a chain that was moved took it along.
    private static func place(of parent: String, in folder: ChainFolder?) -> String {
        guard let moved = folder?.path(of: parent), (try? FileStatus(path: parent)) == nil,
            (try? FileStatus(path: moved)) != nil
        else { return parent }
        return moved
    }

    /// Looks at the file before it is opened: the source's own lock would only say that it is in use.
    private static func check(_ path: String, against source: OpenedDisk) throws(ServiceError) {
        guard !Inspection.isPartial(path) else {
            throw ServiceError(
                .corrupt, "\(path) is an unfinished backup", advice: "name the last one that was completed")
        }
        guard let status = try ServicePath.status(of: path) else {
            throw ServiceError(
                .notFound, "the parent \(path) does not exist", advice: "-b names the backup made before this one")
        }
        guard let file = source.files.first(where: { $0.identity == status.identity }) else { return }
        let what = file === source.layers[0].file ? "the source itself" : "part of the source's chain"
        throw ServiceError(
            .usage, "\(path) is \(what), and not a backup of it", advice: "-b names the backup made before this one")
    }

    /// Refuses a target that a parent is based on, which no increment will go on, but other backups do.
    ///
    /// The chain is only looked at, and what can't be opened is left to whoever restores it.
    static func checkSpared(by request: BackupRequest) async throws(ServiceError) {
        guard let named = request.parent, let target = try? FileStatus(path: request.target), target.kind == .regular
        else { return }
        let folder = request.chainFolder.map { ChainFolder(path: $0) }
        let parent = place(of: named, in: folder)
        let opener = DiskOpener(lock: nil, folder: folder)
        var name: String?
        if (try? FileStatus(path: parent))?.identity == target.identity {
            name = parent
        } else if let disk = try? await opener.open(parent, format: request.parentFormat ?? .qcow2) {
            name = disk.files.first { $0.identity == target.identity }?.name
        }
        guard let name else { return }
        throw ServiceError(
            .usage, "\(name) is part of the chain of \(parent): in its place, a full backup would take that away",
            advice: "choose another target")
    }

    private static func leadsToSource(_ path: String, by file: String) -> ServiceError {
        ServiceError(
            .usage, "the chain of \(path) leads to the source, by \(file): it would change with it",
            advice: "-b names a backup, and a backup reads nothing of the source's own file")
    }

    private static func unopened(
        _ error: ChainError, _ path: String, _ source: OpenedDisk, _ folder: ChainFolder?
    ) -> ServiceError {
        let cause = ServiceError(error)
        switch error {
        case .file(_, .disk, .layer(let failure as ForeignFormatError)):
            return ServiceError(.unsupported, "parent \(failure)", advice: "-b names a backup; -F raw for a raw one")
        case .file(let file, let role, .layer(let failure as Qcow2Error)):
            guard case .notQcow2 = failure.problem, role == .disk else { break }
            return ServiceError(
                .corrupt, "the parent \(file) is no qcow2 image: an unfinished backup, or another format",
                advice: "-F raw for a raw one")
        case .file(let file, let role, .locked):
            if (try? ServicePath.status(of: file))?.identity == source.layers[0].file.identity {
                return leadsToSource(path, by: file)
            }
            guard cause.code == .locked, role == .disk else { break }
            return ServiceError(
                .locked, "parent: \(cause.message)", advice: "another program writes to it: let that end first")
        case .file(let file, .backingFile(let image), .system(let failure))
        where failure.errno == .noSuchFileOrDirectory:
            return ServiceError(
                .notFound, "the chain of \(path) has a gap: \(image) needs \(file), which does not exist",
                advice: folder.map { "put it into \($0.path)" }
                    ?? "put it back, or name the folder that holds the files of the chain: --chain FOLDER")
        case .unknownBackingFormat: return formatNotRecorded(error)
        default: break
        }
        return ServiceError(cause.code, "parent \(path): \(cause.message)", advice: cause.advice)
    }

    /// What to say of a chain whose formats aren't known, where `-F` is about the parent alone.
    static func formatNotRecorded(_ error: ChainError) -> ServiceError {
        ServiceError(
            .usage, "\(error)", advice: "have the image record it (qemu-img rebase -u -F); -F goes with -b here")
    }
}

extension ParentChain {
    /// Images in a chain from which on it should come to an end: each costs its reader an open file and a look into its
    /// tables, and libvirt opens 200 at most.
    static let lengthToWarnOf = 100

    /// Refuses a chain to which nothing can be added, and warns of one that gets long.
    func checkLength(warn: (String) -> Void) throws(ServiceError) {
        try Self.checkLength(ofParent: disk.layers.count, disk.layers[0].path, warn: warn)
    }

    static func checkLength(
        ofParent count: Int, _ path: String, warn: (String) -> Void
    ) throws(ServiceError) {
        guard count < DiskOpener.longestChain else {
            throw ServiceError(
                .unsupported, "the chain of \(path) has \(count) images: nothing would open one more",
                advice: "--sync=full starts a new chain; restore --compress makes one backup of this one")
        }
        if count + 1 > lengthToWarnOf {
            warn(
                "the chain has \(count + 1) images with this one, and can't have more than \(DiskOpener.longestChain): "
                    + "start a new one with --sync=full")
        }
    }
}
