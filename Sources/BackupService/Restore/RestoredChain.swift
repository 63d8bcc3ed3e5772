// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore
import BackupManifest
import BlockIO
import DiskChain
import Qcow2Format

/// The backup to restore, with the backups that it is based on.
struct RestoredChain {
    let request: RestoreRequest
    let warn: @Sendable (String) -> Void

    /// Where the files of the chain are; `nil` for where they say.
    var folder: ChainFolder? { request.chainFolder.map { ChainFolder(path: $0) } }

    /// Opens the chain for reading.
    ///
    /// A backup is of the format that its manifest records. Without one it is qcow2: one that was never finished has no magic
    /// number, and taken for a raw disk it would be restored as garbage.
    func open() async throws(ServiceError) -> OpenedDisk {
        if let folder = request.chainFolder { try check(folder) }
        let opener = DiskOpener(
            backingFormat: request.copy.backingFormat, lock: request.copy.forceShare ? .forcedShare : .readOnlySource,
            folder: folder)
        let manifest = try? await ManifestFile(besides: request.copy.source)
        let recorded = (try? await manifest?.sealedHeader())?.target.format
        let format = request.copy.sourceFormat ?? recorded.flatMap { ImageFormat(rawValue: $0) } ?? .qcow2
        let disk: OpenedDisk
        do throws(ChainError) {
            disk = try await opener.open(request.copy.source, format: format, snapshot: request.copy.snapshot)
        } catch {
            throw ServiceError(error, restoringFrom: request.chainFolder)
        }
        disk.warnings.forEach(warn)
        if !request.copy.trustsChain { try disk.checkLinks() }
        warnOfSizes(disk)
        if request.copy.onSourceError != .ignore { try await checkNotCutOff(disk) }
        return disk
    }

    /// Refuses a chain with a file that was cut off, while the target is still as it was.
    private func checkNotCutOff(_ disk: OpenedDisk) async throws(ServiceError) {
        guard let image = disk.device as? Qcow2Image else { return }
        do throws(BlockError) {
            try await image.checkNotCutOff(0..<image.length)
        } catch {
            let cause = ServiceError(error)
            throw ServiceError(
                cause.code, cause.message,
                advice: "bring the whole file back, or restore what there is with --on-source-error=ignore")
        }
    }

    private func check(_ folder: String) throws(ServiceError) {
        let status = try translated { () throws(BlockError) in
            try FileStatus(path: folder)
        }
        guard let status else {
            throw ServiceError(.notFound, "--chain: \(folder) does not exist", advice: Self.folderAdvice)
        }
        guard status.kind == .directory else {
            throw ServiceError(.usage, "--chain: \(folder) is \(status.kind), not a folder", advice: Self.folderAdvice)
        }
    }

    private static let folderAdvice = "name the folder that holds the files of the chain"

    /// The format has no means to tell a disk that was resized between two backups from a file that belongs to another
    /// chain, or a raw one that was cut off.
    private func warnOfSizes(_ disk: OpenedDisk) {
        for (index, length) in disk.lengths.enumerated().dropFirst() where length != disk.lengths[index - 1] {
            warn(
                "\(disk.layers[index].path) is a disk of \(length) bytes and \(disk.layers[index - 1].path), based on it, "
                    + "one of \(disk.lengths[index - 1]): right only if the disk was resized between the two")
        }
    }
}
