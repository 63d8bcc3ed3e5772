// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore

extension BackupJob.Configuration {
    /// A bad sector that can be read at all can be read within a few tries; each costs seconds on some disks.
    private static let triesOfACluster = 3

    /// How to do what the user asks for.
    ///
    /// - Parameter sync: the mode that fits the source.
    init(_ request: BackupRequest, sync: BackupRequest.Sync) {
        self.init(
            sync: sync == .top ? .top : .full, compress: request.compression != nil,
            copyRange: request.copyRange != .off, maxWorkers: request.workers)
        speed = request.speed
        onSourceError = ErrorPolicy(request.onSourceError)
        onTargetError = ErrorPolicy(request.onTargetError)
        sourceTries = Self.triesOfACluster
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
