// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Glibc
import Qcow2Format
import SystemPackage

/// Makes or opens the target of a backup.
struct TargetMaker {
    let request: BackupRequest
    let source: OpenedDisk
    /// What is copied, after what the source allows has been considered.
    let sync: BackupRequest.Sync
    let warn: @Sendable (String) -> Void

    private var copyRange: CopyRangePolicy {
        switch request.copyRange {
        case .auto: .whereItPays
        case .on: .always
        case .off: .never
        }
    }

    /// Length in bytes of the disk to write.
    private var length: UInt64 { source.device.length }

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
            return try await makeFile(FilePlace(path: request.target, replaces: false), options)
        case (.file, .refuse), (.blockDevice, .refuse):
            throw ServiceError(
                .exists, "\(request.target) exists", advice: "--force replaces it, -n writes into it as it is")
        case (.file(let resolved), .replace):
            try checkReplaceable(resolved)
            return try await makeFile(FilePlace(path: resolved, replaces: true), options)
        case (.blockDevice, .replace):
            return try await layOutDevice(options)
        case (.file, .reuse), (.blockDevice, .reuse):
            return try await openExisting(options)
        }
    }

    // MARK: Checks

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
            options.backingFileName = ServicePath.absolute(backing.path)
            options.backingFormat = backing.format
        }
        return options
    }

    private func lookUp() throws(ServiceError) -> Present {
        guard let status = try status(of: request.target) else {
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
            throw ServiceError(.usage, "\(request.target) is \(what) (\(file.name))", advice: "choose another target")
        }
        switch status.kind {
        case .regular: return .file(resolved: try ServicePath.resolved(request.target))
        case .blockDevice: return .blockDevice
        case let kind: throw ServiceError(.notADisk(path: request.target, kind: kind))
        }
    }

    private func status(of path: String) throws(ServiceError) -> FileStatus? {
        do throws(BlockError) {
            return try FileStatus(path: path)
        } catch {
            throw ServiceError(error)
        }
    }

    /// Refuses to replace an image that is in use: its user would go on writing to what has no name any more.
    private func checkReplaceable(_ path: String) throws(ServiceError) {
        do throws(BlockError) {
            _ = try FileDevice(path: path, access: .readOnly, lock: .writable)
        } catch {
            throw ServiceError(error)
        }
    }

    // MARK: New targets

    private func makeFile(_ place: FilePlace, _ options: Qcow2Options) async throws(ServiceError) -> BackupTarget {
        // Looked at first: until something is made there is nothing to remove.
        let dataPlace = try options.dataFileName.map { (name) throws(ServiceError) in
            try self.dataPlace(name, of: place)
        }
        let file = try await place.create(copyRange: copyRange, readFiles: readFiles)
        note(file.device)
        do throws(ServiceError) {
            guard request.targetFormat == .qcow2 else {
                return try await layOutRaw(in: file)
            }
            guard let dataPlace else {
                return try await layOutQcow2(options, in: file.device, newFiles: [file])
            }
            let dataFile = try await dataPlace.create(copyRange: copyRange, readFiles: readFiles)
            note(dataFile.device)
            do throws(ServiceError) {
                return try await layOutQcow2(
                    options, in: file.device, dataFile: dataFile.device, newFiles: [dataFile, file])
            } catch {
                dataFile.remove()
                throw error
            }
        } catch {
            file.remove()
            throw error
        }
    }

    /// The files that are read, and so never written.
    private var readFiles: [FileIdentity] {
        source.files.map(\.identity)
    }

    /// Where the data file goes of an image that is to be at `image`.
    private func dataPlace(_ path: String, of image: FilePlace) throws(ServiceError) -> FilePlace {
        let absolute = ServicePath.absolute(path)
        guard ![image.path, image.partialPath].map(ServicePath.absolute).contains(absolute) else {
            throw ServiceError(
                .usage, "the data file \(path) would be the image itself", advice: "name another data_file")
        }
        guard let present = try status(of: path) else { return FilePlace(path: path, replaces: false) }
        guard !readFiles.contains(present.identity) else {
            throw ServiceError(.usage, "\(path) is part of the source", advice: "choose another data_file")
        }
        guard present.kind == .regular else { throw ServiceError(.notADisk(path: path, kind: present.kind)) }
        guard request.existingTarget == .replace else {
            throw ServiceError(.exists, "the data file \(path) exists", advice: "--force replaces it")
        }
        let resolved = try ServicePath.resolved(path)
        try checkReplaceable(resolved)
        return FilePlace(path: resolved, replaces: true)
    }

    /// Makes a new image on a block device.
    private func layOutDevice(_ options: Qcow2Options) async throws(ServiceError) -> BackupTarget {
        guard options.dataFileName == nil else {
            throw ServiceError(.usage, "an image on a block device can't have a data_file")
        }
        let file = try openTarget(request.target)
        guard request.targetFormat == .qcow2 else { return try await reuseRaw(file) }
        return try await layOutQcow2(options, in: file)
    }

    private func layOutQcow2(
        _ options: Qcow2Options, in file: FileDevice, dataFile: FileDevice? = nil, newFiles: [UnnamedFile] = []
    ) async throws(ServiceError) -> BackupTarget {
        var options = options
        // A disk is a number of sectors; a raw source of another length is padded.
        options.size = length
        let head = HeadLastDevice(file)
        let dataHead = dataFile.map { HeadLastDevice($0) }
        do throws(BlockError) {
            try await head.begin()
            let image = try await Qcow2Image.create(
                options, in: head, dataFile: dataHead, backing: backingDevice(options),
                compression: request.compression)
            return BackupTarget(
                device: image, head: head, image: image, dataHead: dataHead, newFiles: newFiles, file: file)
        } catch {
            throw ServiceError(error)
        }
    }

    /// The disk that shows through a target that gets the source's backing file.
    private func backingDevice(_ options: Qcow2Options) -> (any BlockDevice)? {
        options.backingFileName == nil ? nil : (source.device as? Qcow2Image)?.backing
    }

    private func layOutRaw(in file: UnnamedFile) async throws(ServiceError) -> BackupTarget {
        let head = HeadLastDevice(file.device)
        do throws(BlockError) {
            try await file.device.resize(to: length)
            return BackupTarget(device: head, head: head, image: nil, newFiles: [file], file: file.device)
        } catch {
            throw ServiceError(error)
        }
    }

    // MARK: Targets that exist

    private func openTarget(_ path: String) throws(ServiceError) -> FileDevice {
        let file: FileDevice
        do throws(BlockError) {
            file = try FileDevice(path: path, access: .readWrite, lock: .writable, copyRange: copyRange)
        } catch {
            throw ServiceError(error)
        }
        // Asked of the open file: what the path leads to may have changed, or may be named by the target's header.
        guard !readFiles.contains(file.identity) else {
            throw ServiceError(.usage, "\(path) is part of the source", advice: "choose another target")
        }
        note(file)
        return file
    }

    private func openExisting(_ options: Qcow2Options) async throws(ServiceError) -> BackupTarget {
        let file = try openTarget(request.target)
        guard request.targetFormat == .qcow2 else { return try await reuseRaw(file) }
        let head = HeadLastDevice(file)
        let image = try await openHeader(head)
        try check(image)
        let opener = DiskOpener(backingFormat: request.backingFormat)
        let backing: OpenedDisk?
        do throws(ChainError) {
            backing = try await opener.openBacking(of: image)
        } catch {
            throw ServiceError(error)
        }
        if image.references.hasExternalDataFile, image.dataFilePath == nil {
            throw ServiceError(.dataFileNotNamed(image: request.target))
        }
        let dataFile = try image.dataFilePath.map { (path) throws(ServiceError) in try openTarget(path) }
        do throws(BlockError) {
            let disk = try await image.open(
                dataFile: dataFile, backing: backing?.device, forWriting: true, compression: request.compression)
            // Nothing has been changed so far.
            try await head.begin()
            return BackupTarget(device: disk, head: head, image: disk, file: file)
        } catch {
            throw ServiceError(error)
        }
    }

    private func openHeader(_ head: HeadLastDevice) async throws(ServiceError) -> Qcow2File {
        do throws(BlockError) {
            try await head.keepHead()
            return try await Qcow2File(head)
        } catch {
            throw ServiceError(error)
        }
    }

    private func check(_ image: Qcow2File) throws(ServiceError) {
        guard image.virtualSize == length else {
            throw ServiceError(
                .usage,
                "\(request.target) is a disk of \(image.virtualSize) bytes and the source one of \(length) bytes",
                advice: "qemu-img resize changes the target")
        }
        if let compression = request.compression, compression.type != image.compressionType {
            throw ServiceError(
                .usage, "\(request.target) compresses with \(image.compressionType)",
                advice: "pass --compression-type=\(image.compressionType)")
        }
    }

    private func reuseRaw(_ file: FileDevice) async throws(ServiceError) -> BackupTarget {
        guard file.length == length || file.kind == .blockDevice && file.length > length else {
            throw ServiceError(
                .usage, "\(request.target) has \(file.length) bytes and the source \(length)",
                advice: "the target must have the disk's length")
        }
        if file.length > length {
            warn("\(request.target) is longer than the disk: what lies behind its \(length) bytes stays as it is")
        }
        let head = HeadLastDevice(LimitedDevice(file, length: length))
        do throws(BlockError) {
            try await head.begin()
        } catch {
            throw ServiceError(error)
        }
        return BackupTarget(device: head, head: head, image: nil, file: file)
    }

    private func note(_ file: FileDevice) {
        if let reason = file.lockUnavailable {
            warn("\(file.name) can't be locked (\(reason.errno)): make sure that nothing else writes to it")
        }
    }
}
