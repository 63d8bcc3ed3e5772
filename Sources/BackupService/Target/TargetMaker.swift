// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore
import BlockIO
import DiskChain
import Glibc
import Qcow2Format

/// Makes or opens the target of a backup.
struct TargetMaker {
    let request: BackupRequest
    let source: OpenedDisk
    /// What is copied, after what the source allows has been considered.
    let sync: SyncMode
    /// What the target is to go on top of; `nil` where it isn't an increment.
    let parent: ParentChain?
    /// How an image is laid out whose place the target takes; a new target is laid out like it as far as no option says
    /// otherwise. `nil` for the usual layout.
    let layout: Qcow2Options?
    let warn: @Sendable (String) -> Void
    /// Which backup the target is going to be; `nil` for a disk that is restored.
    let identity: BackupIdentity?

    init(
        request: BackupRequest, source: OpenedDisk, sync: SyncMode, parent: ParentChain? = nil,
        layout: Qcow2Options? = nil, warn: @escaping @Sendable (String) -> Void
    ) {
        self.request = request
        self.source = source
        self.sync = sync
        self.parent = parent
        self.layout = layout
        self.warn = warn
        let made = parent.map {
            BackupIdentity.Parent(id: $0.disk.layers[0].identity?.id, virtualSize: $0.disk.device.length)
        }
        identity = request.isBackup ? BackupIdentity(parent: made) : nil
    }

    var copyRange: CopyRangePolicy {
        switch request.copyRange {
        case .auto: .whereItPays
        case .on: .always
        case .off: .never
        }
    }

    /// Length in bytes of the disk to write.
    var length: UInt64 { source.device.length }

    /// What the path leads to now.
    private enum Present {
        case nothing
        case file(resolved: String)
        case blockDevice
    }

    func make() async throws(ServiceError) -> BackupTarget {
        let options = try checkOptions()
        let present = try lookUp()
        switch (present, request.existingTarget) {
        case (.nothing, .reuse):
            throw ServiceError(.notFound, "\(request.target) does not exist", advice: "without -n it is made")
        case (.nothing, .refuse), (.nothing, .replace):
            try Self.checkName(request.target)
            return try await makeFile(FilePlace(path: request.target), options)
        case (.file, .refuse), (.blockDevice, .refuse):
            throw ServiceError(
                .exists, "\(request.target) exists", advice: "--force replaces it, -n writes into it as it is")
        case (.file(let resolved), .replace):
            try Self.checkName(resolved)
            return try await makeFile(placeReplacing(resolved), options)
        case (.blockDevice, .replace):
            return try await layOutDevice(options)
        case (.file(let resolved), .reuse):
            try Self.checkName(resolved)
            return try await openExisting(options)
        case (.blockDevice, .reuse):
            return try await openExisting(options)
        }
    }

    private func checkOptions() throws(ServiceError) -> Qcow2Options {
        var options = Qcow2Options(size: length)
        let given = try TargetOptions(request.targetOptions)
        if request.targetFormat == .raw {
            guard request.compression == nil else {
                throw ServiceError(.usage, "a raw target can't hold compressed clusters", advice: "use -O qcow2")
            }
            guard given.isEmpty else { throw ServiceError(.usage, "a raw target has no -o options") }
            guard sync == .full else {
                throw ServiceError(
                    .usage, "a raw target can't have a backing file, which --sync=top needs",
                    advice: "use -O qcow2 or --sync=full")
            }
            return options
        }
        if request.existingTarget == .reuse, !given.isEmpty {
            throw ServiceError(.usage, "-o describes a new target, and -n writes into one that exists")
        }
        if let layout { given.adopt(layout, compression: request.compression?.type, in: &options) }
        try given.apply(to: &options)
        if let compression = request.compression {
            if options.compressionType != compression.type {
                guard options.compressionType == .zlib else {
                    throw ServiceError(.usage, "-o compression_type and --compression-type contradict each other")
                }
                options.compressionType = compression.type
            }
            guard options.dataFileName == nil else {
                throw ServiceError(.usage, "a target with an external data file can't hold compressed clusters")
            }
        }
        if let name = options.dataFileName {
            // Beside the image, as a reader of the name would look for it. Recorded from the root on, because QEMU looks
            // in the folder where it happens to be started.
            options.dataFileName = ServicePath.absolute(ImagePath.resolve(name, relativeTo: request.target))
        }
        if sync == .top, let backing = source.backing {
            options.backingFileName = try BackingName(request).name(of: backing)
            options.backingFormat = backing.format.rawValue
        }
        if let parent {
            options.backingFileName = parent.name
            options.backingFormat = parent.format.rawValue
        }
        if request.existingTarget != .reuse {
            // Here, so that nothing is touched for an image that can't be.
            do throws(Qcow2Error.Problem) {
                try options.check()
            } catch {
                throw ServiceError(error)
            }
        }
        return options
    }

    private func lookUp() throws(ServiceError) -> Present {
        guard let status = try ServicePath.status(of: request.target) else {
            var link = stat()
            guard lstat(request.target, &link) != 0 else {
                throw ServiceError(
                    .exists, "\(request.target) is a symbolic link that leads nowhere", advice: "remove it")
            }
            return .nothing
        }
        if let file = source.files.first(where: { $0.identity == status.identity }) {
            // Whatever is asked for, nothing that is read gets overwritten.
            let what = file === source.layers[0].file ? "the source itself" : "part of the source's chain"
            let name = file.name == request.target ? "" : ", \(file.name)"
            throw ServiceError(.usage, "\(request.target) is \(what)\(name)", advice: "choose another target")
        }
        if let parent, parent.disk.files.contains(where: { $0.identity == status.identity }) {
            throw ServiceError(
                .usage, "\(request.target) is the parent, or part of its chain", advice: "choose another target")
        }
        switch status.kind {
        case .regular: return .file(resolved: try ServicePath.resolved(request.target))
        case .blockDevice: return .blockDevice
        case let kind: throw ServiceError(.notADisk(path: request.target, kind: kind))
        }
    }

    /// Refuses a name that belongs to what is made beside a disk.
    static func checkName(_ path: String) throws(ServiceError) {
        guard let suffix = FilePlace.reservedSuffixes.first(where: { path.hasSuffix($0) }) else { return }
        throw ServiceError(
            .usage, "\(path): names that end with \(suffix) are those of files beside a backup",
            advice: "choose another name")
    }

    /// The files that are read, and so never written.
    var readFiles: [StorageIdentity] {
        (source.files + (parent?.disk.files ?? [])).map(\.identity)
    }

    /// The place of a file to replace, which is locked from now on. One that is in use is refused: its user would go on
    /// writing to what has no name any more.
    func placeReplacing(_ path: String) throws(ServiceError) -> FilePlace {
        do throws(BlockError) {
            return FilePlace(path: path, replaced: try LocalStorage.open(path, access: .readOnly, lock: .writable))
        } catch {
            throw .ofTarget(error)
        }
    }

    func note(_ file: UnnamedFile) {
        note(file.device)
        guard !file.lostAttributes.isEmpty else { return }
        let lost = file.lostAttributes.joined(separator: ", ")
        warn("what replaces \(file.place.path) can't have all that it has: \(lost)")
    }

    func note(_ file: any Storage) {
        if let warning = file.lockWarning("make sure that nothing else writes to it") { warn(warning) }
    }
}
