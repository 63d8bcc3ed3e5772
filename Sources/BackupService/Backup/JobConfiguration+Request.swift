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
        onSourceError = ErrorPolicy(request.onSourceError)
        onTargetError = ErrorPolicy(request.onTargetError)
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
