// SPDX-License-Identifier: GPL-2.0-or-later

extension BackupJob {
    /// How a backup is to be done.
    public struct Configuration: Sendable {
        public var sync: SyncMode
        /// Store clusters compressed.
        public var compress: Bool
        /// Try copy offload where the target can do it.
        public var copyRange: Bool
        /// Most clusters' ranges that are copied at a time; `nil` for one for each thread.
        public var maxWorkers: Int?
        /// Longest range in bytes that a worker takes at once; `nil` chooses by the number of workers.
        public var maxChunk: UInt64?

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
