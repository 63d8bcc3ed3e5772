// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore

extension BackupJob.Configuration {
    /// A bad sector that can be read at all can be read within a few tries; each costs seconds on some disks.
    private static let triesOfACluster = 3

    /// How to do what the user asks for.
    ///
    /// - Parameters:
    ///   - sync: the mode that fits the source.
    ///   - bitmap: the bitmap to work by, or to synchronise.
    init(_ request: BackupRequest, sync: SyncMode, bitmap: SourceBitmap?) {
        self.init(
            sync: sync, compress: request.compression != nil,
            copyRange: request.copyRange != .off, maxWorkers: request.workers)
        speed = request.speed
        onSourceError = request.policy(request.onSourceError)
        onTargetError = request.policy(request.onTargetError)
        sourceTries = Self.triesOfACluster
        self.bitmap = bitmap?.name
        bitmapMode = bitmap?.mode
    }
}

extension SyncMode {
    /// Whether the target holds changes only, on top of an earlier backup.
    package var isIncrement: Bool { self == .incremental || self == .bitmap }
}

extension BackupRequest {
    /// A run that nobody can resume does not stand still for ever.
    fileprivate func policy(_ policy: ErrorPolicy) -> ErrorPolicy {
        switch policy {
        case .enospc, .auto, .stop: canBeResumed ? policy : .report
        case .report, .ignore: policy
        }
    }

    /// What to say of a run that an error ended which a policy of the user's would have stopped it at.
    func gaveUp(_ cause: ServiceError, _ error: JobError) -> ServiceError {
        guard !canBeResumed, case .copy(let failure) = error else { return cause }
        let (option, policy) =
            failure.side == .source ? ("--on-source-error", onSourceError) : ("--on-target-error", onTargetError)
        guard policy.action(for: failure.errno) == .stop else { return cause }
        let reason = "\(option)=\(policy.rawValue) did not stop: there is no terminal to resume the run at"
        return cause.advising(cause.advice.map { "\(reason); \($0)" } ?? reason)
    }
}
