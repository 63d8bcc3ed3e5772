// SPDX-License-Identifier: GPL-2.0-or-later

extension BackupJob {
    /// How a backup is to be done.
    package struct Configuration: Sendable {
        package var sync: SyncMode
        /// The bitmap of the source to work by, or to synchronise; `nil` for none.
        package var bitmap: String?
        /// What becomes of the bitmap; `nil` for what the sync mode implies, where it does.
        package var bitmapMode: BitmapMode?
        /// Store clusters compressed.
        package var compress: Bool
        /// Try copy offload where the target can do it.
        package var copyRange: Bool
        /// Most clusters' ranges that are copied at a time; `nil` for one for each thread.
        package var maxWorkers: Int?
        /// Longest range in bytes that a worker takes at once; `nil` chooses by the number of workers.
        package var maxChunk: UInt64?

        /// Bytes each second; 0 for no limit.
        package var speed: UInt64 = 0
        /// What to do when the source can't be read.
        package var onSourceError = ErrorPolicy.report
        /// With `ignore` on the source: how often a cluster that can't be read is tried on its own before the job gives it
        /// up, writes zeroes in its place and goes on; `nil` for without end.
        package var sourceTries: Int?
        /// What to do when the target can't be written.
        package var onTargetError = ErrorPolicy.report
        /// End without waiting to be finalised.
        package var autoFinalize = true
        /// Be gone at the end, without waiting to be dismissed.
        package var autoDismiss = true

        package init(
            sync: SyncMode = .full, compress: Bool = false, copyRange: Bool = true, maxWorkers: Int? = nil,
            maxChunk: UInt64? = nil
        ) {
            self.sync = sync
            self.compress = compress
            self.copyRange = copyRange
            self.maxWorkers = maxWorkers
            self.maxChunk = maxChunk
        }
    }
}
