// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore
import BlockIO
import DiskChain
import Qcow2Format

/// Targets that exist and are written into.
extension TargetMaker {
    func openTarget(_ path: String) throws(ServiceError) -> any Storage {
        let file: any Storage
        do throws(BlockError) {
            file = try LocalStorage.open(path, access: .readWrite, lock: .writable, copyRange: copyRange)
        } catch {
            // The locks may be our own, where the target's header names a file that is read.
            if try ServicePath.status(of: path).map({ readFiles.contains($0.identity) }) == true {
                throw Self.isRead(path)
            }
            throw .ofTarget(error)
        }
        // Asked of the open file: what the path leads to may have changed.
        guard !readFiles.contains(file.identity) else { throw Self.isRead(path) }
        note(file)
        return file
    }

    private static func isRead(_ path: String) -> ServiceError {
        ServiceError(.usage, "\(path) is part of the source", advice: "choose another target")
    }

    func openExisting(_ options: Qcow2Options) async throws(ServiceError) -> BackupTarget {
        let file = try openTarget(request.target)
        guard request.targetFormat == .qcow2 else { return try reuseRaw(file) }
        let head = HeadLastDevice(file)
        let image = try await openHeader(head)
        try check(image)
        let opener = DiskOpener(backingFormat: request.backingFormat)
        let backing = try await translated { () async throws(ChainError) in
            try await opener.openBacking(of: image)
        }
        if image.references.hasExternalDataFile, image.dataFilePath == nil {
            throw ServiceError(.dataFileNotNamed(image: request.target))
        }
        let dataFile = try image.dataFilePath.map { (path) throws(ServiceError) in try openTarget(path) }
        // Whatever of the data changes, the image must not look whole then.
        let dataHead = dataFile.map { HeadLastDevice($0, leader: head) }
        let disk = try await translated { () async throws(BlockError) in
            try await dataHead?.keepHead()
            return try await image.open(
                dataFile: dataHead, backing: backing?.device, forWriting: true, identity: identity,
                compression: request.compression)
        }
        // Behind what refuses an image: then that is all there is to say.
        image.warnings.forEach(warn)
        if sync == .top { try await checkOverlay(disk, over: backing) }
        return BackupTarget(
            device: disk, identity: identity, head: head, image: disk, dataHead: dataHead,
            files: [file] + (dataFile.map { [$0] } ?? []))
    }

    /// Refuses a target in which the parts that `--sync=top` leaves out would not read as the source's.
    private func checkOverlay(_ disk: Qcow2Image, over backing: OpenedDisk?) async throws(ServiceError) {
        guard let wanted = source.backing else { return }
        let layer = backing?.layers[0]
        guard layer?.file.identity == wanted.file.identity, layer?.format == wanted.format else {
            let what = layer.map { "has the backing file \($0.path) (\($0.format))" } ?? "has no backing file"
            throw ServiceError(
                .usage,
                "\(request.target) \(what), the source has \(wanted.path) (\(wanted.format)): with --sync=top they would "
                    + "differ",
                advice: "make it an overlay of that file, or use --sync=full")
        }
        let foreign = try await translated { () async throws(BlockError) in
            let clusterSize = max(CopyClusterSize.minimum, try await disk.clusterSize())
            let check = OverlayCheck(source: source.device, target: disk, clusterSize: clusterSize)
            return try await check.firstForeignOffset()
        }
        if let foreign {
            throw ServiceError(
                .usage,
                "\(request.target) holds data of its own at offset \(foreign), where the source's top layer holds none: "
                    + "--sync=top would leave it there",
                advice: "make a new overlay, or use --sync=full")
        }
    }

    private func openHeader(_ head: HeadLastDevice) async throws(ServiceError) -> Qcow2File {
        do throws(BlockError) {
            try await head.keepHead()
            return try await Qcow2File.opened(head)
        } catch {
            let cause = ServiceError(error)
            switch error {
            case .layer(is ForeignFormatError): break
            case .layer(let failure as Qcow2Error):
                guard case .notQcow2 = failure.problem else { throw cause }
            default: throw cause
            }
            throw ServiceError(
                .unsupported, cause.message,
                advice: "-O raw writes a plain disk into it; --force makes a new image, also of one left unfinished")
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

    func reuseRaw(_ file: any Storage) throws(ServiceError) -> BackupTarget {
        guard file.length == length || file.isFixed && file.length > length else {
            throw ServiceError(
                .usage, "\(request.target) has \(file.length) bytes and the source \(length)",
                advice: "the target must have the disk's length")
        }
        if file.length > length {
            warn("\(request.target) is longer than the disk: what lies behind its \(length) bytes stays as it is")
        }
        let head = HeadLastDevice(LimitedDevice(file, length: length))
        return BackupTarget(device: head, head: head, image: nil, files: [file])
    }
}
