// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DirtyBitmaps
import SystemPackage

/// Why a job could not be made, or how it failed.
package enum JobError: Error, Sendable {
    // Creation.
    /// The sync mode works by a bitmap, and none was named.
    case bitmapNameNeeded(SyncMode)
    case incrementalNeedsOnSuccess
    case bitmapNotFound(String)
    case bitmapModeNeeded
    case bitmapWithSyncNone
    /// Nothing would ever come of the bitmap.
    case bitmapModeMeaningless(SyncMode)
    case bitmapModeWithoutBitmap
    case bitmap(DirtyBitmapError)
    case sameNode
    /// Another job uses the device of that name.
    case nodeBusy(String)
    /// What shows through the source can't be written to.
    case permissionConflict(String)
    case malformedID(String)
    case duplicateID(String)
    case compressionUnsupported(target: String)
    /// Lengths in bytes.
    case lengthsDiffer(source: UInt64, target: UInt64)
    case clusterSizeUnknown(target: String, underlying: BlockError)
    /// No backup can be made with such clusters, in bytes.
    case clusterSizeUnusable(target: String, clusterSize: UInt64)
    /// Without guest writes there is nothing for a sync=none backup to copy.
    case guestDeviceNeeded(source: String)
    case invalidMaxWorkers(Int)
    /// Both in bytes.
    case invalidMaxChunk(UInt64, clusterSize: UInt64)

    // The run.
    /// Asking the source what its top layer holds failed, at this byte offset.
    case scan(offset: UInt64, underlying: BlockError)
    case copy(CopyError)
    case cancelled

    /// A job runs once.
    case alreadyStarted(job: String, state: JobState)

    // Verbs.
    case verbNotAllowed(verb: JobVerb, state: JobState, job: String)
    case alreadyPaused(job: String)
    case notPaused(job: String)
    /// A job that its user paused ends only by force.
    case pausedNeedsForce(job: String)
    /// Only a sync=none backup has checkpoints.
    case checkpointNeedsSyncNone
    /// It is about to end, or over.
    case checkpointNeedsRun(job: String, state: JobState)

    // Transactions.
    /// A transaction failed because it was told to.
    case transactionAborted
    /// The action, by its QMP name, knows no grouped completion.
    case notInGroupedTransaction(action: String)

    /// What a job says about its bitmap.
    init(_ error: DirtyBitmapError) {
        switch error {
        case .notFound(let name): self = .bitmapNotFound(name)
        default: self = .bitmap(error)
        }
    }
}

extension JobError {
    /// The system error that a client of the job would see.
    package var errno: Errno {
        switch self {
        case .clusterSizeUnknown(_, let underlying), .scan(_, let underlying): underlying.errno
        case .copy(let error): error.errno
        case .cancelled: .canceled
        case .compressionUnsupported: .notSupported
        case .nodeBusy, .bitmap(.busy): .resourceBusy
        case .bitmapNotFound: .noSuchFileOrDirectory
        case .duplicateID: .fileExists
        default: .invalidArgument
        }
    }
}

extension JobError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .bitmapNameNeeded(let sync): "must provide a valid bitmap name for '\(sync.rawValue)' sync mode"
        case .incrementalNeedsOnSuccess:
            "Bitmap sync mode must be 'on-success' when using sync mode 'incremental'"
        case .bitmapNotFound(let name): "Bitmap '\(name)' could not be found"
        case .bitmapModeNeeded: "Bitmap sync mode must be given when providing a bitmap"
        case .bitmapWithSyncNone: "sync mode 'none' does not produce meaningful bitmap outputs"
        case .bitmapModeMeaningless(let sync):
            "Bitmap sync mode 'never' has no meaningful effect when combined with sync mode '\(sync.rawValue)'"
        case .bitmapModeWithoutBitmap: "Cannot specify bitmap sync mode without a bitmap"
        case .bitmap(let error): error.description
        case .nodeBusy(let node): "Node '\(node)' is busy: block device is in use by block job: backup"
        case .permissionConflict(let node):
            "Permission conflict on node '\(node)': it is part of the source's backing chain, which others read"
        case .malformedID(let id): "Malformed job ID '\(id)'"
        case .duplicateID(let id): "Job ID '\(id)' already in use"
        case .pausedNeedsForce(let job): "The block job for device '\(job)' is currently paused"
        case .transactionAborted: "Transaction aborted using Abort action"
        case .notInGroupedTransaction(let action):
            "Action '\(action)' cannot be part of a grouped transaction"
        case .sameNode: "Source and target must be different nodes"
        case .compressionUnsupported(let target): "Target \(target) does not support compressed writes"
        case .lengthsDiffer(let source, let target):
            "Source and target have different lengths: \(source) and \(target) bytes"
        case .clusterSizeUnknown(let target, let underlying):
            "cannot determine the target's cluster size and it has no backing file: \(target): \(underlying); "
                + "without it the backup could be unusable"
        case .clusterSizeUnusable(let target, let clusterSize):
            "Target \(target) has clusters of \(clusterSize) bytes; "
                + "a backup needs a power of two, at most \(CopyClusterSize.maximum)"
        case .alreadyPaused(let job): "Job '\(job)' is already paused"
        case .notPaused(let job): "Job '\(job)' is not paused"
        case .checkpointNeedsSyncNone: "block checkpoint needs a sync=none backup"
        case .checkpointNeedsRun(let job, let state):
            "Job '\(job)' in state '\(state.rawValue)' copies nothing more, and can have no checkpoint"
        case .guestDeviceNeeded(let source):
            "Sync mode 'none' copies what a guest is about to overwrite, and no guest writes to \(source)"
        case .invalidMaxWorkers(let count): "max-workers must be at least 1, not \(count)"
        case .invalidMaxChunk(let chunk, let clusterSize):
            "max-chunk must be 0 or at least the cluster size of \(clusterSize) bytes, not \(chunk)"
        case .scan(let offset, let underlying):
            "source: block status at offset \(offset) failed: \(underlying)"
        case .copy(let error): error.description
        case .cancelled: "Operation canceled"
        case .alreadyStarted(let job, let state):
            "Job '\(job)' in state '\(state.rawValue)' cannot be started again"
        case .verbNotAllowed(let verb, let state, let job):
            "Job '\(job)' in state '\(state.rawValue)' cannot accept command verb '\(verb.rawValue)'"
        }
    }
}
