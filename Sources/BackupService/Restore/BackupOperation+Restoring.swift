// SPDX-License-Identifier: GPL-2.0-or-later

import Qcow2Format

extension BackupOperation {
    /// A run that restores: the full copy of a disk that happens to be a backup.
    ///
    /// - Parameter warn: called with one line for each thing that the user should know and that stops nothing.
    public convenience init(restoring request: RestoreRequest, warn: @escaping @Sendable (String) -> Void) {
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
