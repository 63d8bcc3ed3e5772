// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DiskChain
import Qcow2Format

/// Targets that are made.
extension TargetMaker {
    func makeFile(_ place: FilePlace, _ options: Qcow2Options) async throws(ServiceError) -> BackupTarget {
        // Looked at first: until something is made there is nothing to remove.
        let dataPlace = try options.dataFileName.map { (name) throws(ServiceError) in
            try self.dataPlace(name, of: place)
        }
        let file = try await place.create(copyRange: copyRange, readFiles: readFiles)
        note(file)
        do throws(ServiceError) {
            guard request.targetFormat == .qcow2 else {
                return try await layOutRaw(in: file)
            }
            guard let dataPlace else {
                return try await layOutQcow2(options, in: file.device, newFiles: [file])
            }
            let dataFile = try await dataPlace.create(
                copyRange: copyRange, readFiles: readFiles, checksNaming: dataPlace.folder != place.folder)
            note(dataFile)
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

    /// Where the data file goes of an image that is to be at `image`.
    private func dataPlace(_ path: String, of image: FilePlace) throws(ServiceError) -> FilePlace {
        let absolute = ServicePath.absolute(path)
        try Self.checkName(path)
        guard ![image.path, image.partialPath].map(ServicePath.absolute).contains(absolute) else {
            throw ServiceError(
                .usage, "the data file \(path) would be the image itself", advice: "name another data_file")
        }
        guard let present = try ServicePath.status(of: path) else { return FilePlace(path: path) }
        guard !readFiles.contains(present.identity) else {
            throw ServiceError(
                .usage, "\(path) is part of the source or of the parent", advice: "choose another data_file")
        }
        guard present.kind == .regular else { throw ServiceError(.notADisk(path: path, kind: present.kind)) }
        guard request.existingTarget == .replace else {
            throw ServiceError(.exists, "the data file \(path) exists", advice: "--force replaces it")
        }
        return try placeReplacing(ServicePath.resolved(path))
    }

    /// Makes a new image on a block device.
    func layOutDevice(_ options: Qcow2Options) async throws(ServiceError) -> BackupTarget {
        guard options.dataFileName == nil else {
            throw ServiceError(.usage, "an image on a block device can't have a data_file")
        }
        let file = try openTarget(request.target)
        guard request.targetFormat == .qcow2 else { return try reuseRaw(file) }
        return try await layOutQcow2(options, in: file)
    }

    private func layOutQcow2(
        _ options: Qcow2Options, in file: any Storage, dataFile: (any Storage)? = nil, newFiles: [UnnamedFile] = []
    ) async throws(ServiceError) -> BackupTarget {
        var options = options
        // A disk is a number of sectors; a raw source of another length is padded.
        options.size = length
        options.identity = identity
        let head = HeadLastDevice(file, isMarked: !newFiles.isEmpty)
        let dataHead = dataFile.map { HeadLastDevice($0, isMarked: true) }
        return try await translated { () async throws(BlockError) in
            let image = try await Qcow2Image.create(
                options, in: head, dataFile: dataHead, backing: backingDevice(options),
                compression: request.compression)
            return BackupTarget(
                device: image, identity: identity, head: head, image: image, dataHead: dataHead, newFiles: newFiles,
                files: [file] + (dataFile.map { [$0] } ?? []))
        }
    }

    /// The disk that shows through a target that has a backing file: its parent's or the source's.
    private func backingDevice(_ options: Qcow2Options) -> (any BlockDevice)? {
        if let parent { return parent.disk.device }
        return options.backingFileName == nil ? nil : (source.device as? Qcow2Image)?.backing
    }

    private func layOutRaw(in file: UnnamedFile) async throws(ServiceError) -> BackupTarget {
        let head = HeadLastDevice(file.device, isMarked: true)
        return try await translated { () async throws(BlockError) in
            try await file.device.resize(to: length)
            return BackupTarget(device: head, head: head, image: nil, newFiles: [file], files: [file.device])
        }
    }
}
