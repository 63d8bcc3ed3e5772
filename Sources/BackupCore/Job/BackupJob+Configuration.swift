// SPDX-License-Identifier: GPL-2.0-or-later

extension BackupJob {
    /// How a backup is to be done.
    public struct Configuration: Sendable {
        public var sync: SyncMode
        /// The bitmap of the source to work by, or to synchronise; `nil` for none.
        public var bitmap: String?
        /// What becomes of the bitmap; `nil` for what the sync mode implies, where it does.
        public var bitmapMode: BitmapMode?
        /// Store clusters compressed.
        public var compress: Bool
        /// Try copy offload where the target can do it.
        public var copyRange: Bool
        /// Most clusters' ranges that are copied at a time; `nil` for one for each thread.
        public var maxWorkers: Int?
        /// Longest range in bytes that a worker takes at once; `nil` chooses by the number of workers.
        public var maxChunk: UInt64?

        /// Bytes each second; 0 for no limit.
        public var speed: UInt64 = 0
        /// What to do when the source can't be read.
        public var onSourceError = ErrorPolicy.report
        /// With `ignore` on the source: how often a cluster that can't be read is tried on its own before the job gives it
        /// up, writes zeroes in its place and goes on; `nil` for without end.
        public var sourceTries: Int?
        /// What to do when the target can't be written.
        public var onTargetError = ErrorPolicy.report
        /// End without waiting to be finalised.
        public var autoFinalize = true
        /// Be gone at the end, without waiting to be dismissed.
        public var autoDismiss = true

        public init(
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
