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
        copy.targetFormat = request.targetFormat ?? replaced.formatToWrite
        let existing = copy.existingTarget
        self.init(
            copy,
            opening: { () async throws(ServiceError) -> OpenedDisk in
                if isFormatOpen { try await replaced.check() }
                let disk = try await chain.open()
                guard existing != .refuse else { return disk }
                try await ReplacedChain(path: replaced.path, folder: chain.folder).check(against: disk)
                return disk
            }, warn: warn)
    }
}
