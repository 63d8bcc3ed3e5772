// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore
import DiskChain
import Qcow2Format

/// Which backup to restore, where to, and how.
///
/// Copying a backup is copying a disk: what that takes is a `BackupRequest`, whose source is the backup.
package struct RestoreRequest: Sendable {
    /// How the disk is copied. Its `sync` and `targetFormat` don't count: all that the backup and its chain show is
    /// written, in `targetFormat` of this request.
    package var copy: BackupRequest
    /// `nil` for what fits the target: raw for a block device, qcow2 for all else.
    package var targetFormat: ImageFormat?
    /// The folder where the files are that the backup and its chain name; `nil` for where they say.
    package var chainFolder: String?
    /// Prove what is read by the backups' manifests, as far as there are any.
    package var verifies = true

    package init(source: String, target: String) {
        copy = BackupRequest(source: source, target: target)
    }
}

extension BackupOperation {
    /// A run that restores: the full copy of a disk that happens to be a backup.
    ///
    /// - Parameter warn: called with one line for each thing that the user should know and that stops nothing.
    package convenience init(restoring request: RestoreRequest, warn: @escaping @Sendable (String) -> Void) {
        let replaced = ReplacedTarget(path: request.copy.target)
        let isFormatOpen = request.targetFormat == nil && request.copy.existingTarget == .replace
        let chain = RestoredChain(request: request, warn: warn)
        var copy = request.copy
        copy.sync = .full
        copy.isBackup = false
        copy.digest = nil
        copy.targetFormat = request.targetFormat ?? replaced.formatToWrite
        let existing = copy.existingTarget
        // What manifests tell of is an image's active state.
        let verifies = request.verifies && copy.snapshot == nil
        let targetOptions = copy.targetOptions
        self.init(
            copy,
            opening: { () async throws(ServiceError) in
                if isFormatOpen { try await replaced.check() }
                let disk = try await chain.open()
                var source = OpenedSource(disk: disk)
                if verifies {
                    source.proof = try await ChainProof(
                        of: disk, named: request.copy.source, trustsChain: request.copy.trustsChain, warn: warn)
                }
                guard existing != .refuse else { return source }
                try await ReplacedChain(path: replaced.path, folder: chain.folder).check(against: disk)
                guard existing == .replace, let image = await replaced.image() else { return source }
                await replaced.warnOfLosses(of: image, options: targetOptions, warn: warn)
                source.layout = image.layoutOptions
                return source
            }, warn: warn)
    }
}
