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
    init(_ request: BackupRequest, sync: BackupRequest.Sync, bitmap: SourceBitmap?) {
        self.init(
            sync: SyncMode(sync), compress: request.compression != nil,
            copyRange: request.copyRange != .off, maxWorkers: request.workers)
        speed = request.speed
        onSourceError = request.policy(request.onSourceError)
        onTargetError = request.policy(request.onTargetError)
        sourceTries = Self.triesOfACluster
        self.bitmap = bitmap?.name
        bitmapMode = bitmap.map { BitmapMode($0.mode) }
    }
}

extension SyncMode {
    fileprivate init(_ sync: BackupRequest.Sync) {
        switch sync {
        case .full: self = .full
        case .top: self = .top
        case .incremental: self = .incremental
        case .bitmap: self = .bitmap
        }
    }
}

extension BitmapMode {
    fileprivate init(_ mode: BackupRequest.BitmapMode) {
        switch mode {
        case .never: self = .never
        case .onSuccess: self = .onSuccess
        case .always: self = .always
        }
    }
}

extension ErrorPolicy {
    fileprivate init(_ handling: BackupRequest.ErrorHandling) {
        switch handling {
        case .report: self = .report
        case .ignore: self = .ignore
        case .enospc: self = .enospc
        case .stop: self = .stop
        }
    }
}

extension BackupRequest {
    /// A run that nobody can resume does not stand still for ever.
    fileprivate func policy(_ handling: ErrorHandling) -> ErrorPolicy {
        switch handling {
        case .enospc, .stop: canBeResumed ? ErrorPolicy(handling) : .report
        case .report, .ignore: ErrorPolicy(handling)
        }
    }

    /// What to say of a run that an error ended which a policy of the user's would have stopped it at.
    func gaveUp(_ cause: ServiceError, _ error: JobError) -> ServiceError {
        guard !canBeResumed, case .copy(let failure) = error else { return cause }
        let (option, handling) =
            failure.side == .source ? ("--on-source-error", onSourceError) : ("--on-target-error", onTargetError)
        guard ErrorPolicy(handling).action(for: failure.errno) == .stop else { return cause }
        let reason = "\(option)=\(handling.rawValue) did not stop: there is no terminal to resume the run at"
        return ServiceError(cause.code, cause.message, advice: cause.advice.map { "\(reason); \($0)" } ?? reason)
    }
}
