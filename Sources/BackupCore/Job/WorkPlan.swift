// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// How the work is cut up among workers. Lengths are bytes.
struct WorkPlan {
    /// Memory that the default chunk size lets the workers' buffers take together.
    private static let defaultBufferMemory: UInt64 = 16 << 20
    /// Bounds of the default chunk size.
    private static let defaultChunks: ClosedRange<UInt64> = 256 << 10...2 << 20
    /// Largest chunk, whatever is asked for.
    private static let longestChunk = CopyClusterSize.maximum
    /// Memory that the workers' buffers may take together, whatever is asked for.
    private static let maximumBufferMemory: UInt64 = 128 << 20
    /// Longest run of zeroes that is written at once: no buffer limits it, but cancelling waits for it.
    private static let longestZeroRun: UInt64 = 1 << 30
    /// The same where guest writes wait for it too.
    private static let longestLiveZeroRun: UInt64 = 64 << 20

    /// Most that a worker takes at once, in whole clusters; the size of its buffer.
    let chunk: UInt64
    private let workers: UInt64
    private let clusterSize: UInt64
    private let growth: UInt64

    init(_ configuration: BackupJob.Configuration, threads: Int, copy: BlockCopy, isLive: Bool) {
        let wanted = UInt64(configuration.maxWorkers ?? threads)
        if let chunk = configuration.maxChunk, chunk != 0 {
            self.chunk = copy.chunkLength(atMost: min(chunk, Self.longestChunk))
        } else {
            let share = min(
                max(Self.defaultBufferMemory / wanted, Self.defaultChunks.lowerBound), Self.defaultChunks.upperBound)
            chunk = copy.chunkLength(atMost: share)
        }
        workers = min(wanted, max(1, Self.maximumBufferMemory / chunk))
        growth = isLive ? Self.longestLiveZeroRun : Self.longestZeroRun
        clusterSize = copy.clusterSize.bytes
    }

    /// Number of workers that so much work is worth.
    func workerCount(for remaining: UInt64) -> UInt64 {
        max(1, min(workers, remaining.dividedRoundingUp(by: chunk)))
    }

    /// What a worker may take at a time.
    struct Bounds {
        let limit: UInt64
        /// How long it may become over zeroes, which are not charged.
        let growth: UInt64
        let isLimited: Bool

        /// What to charge to the speed limit before it is known how much it was.
        var charge: UInt64 {
            isLimited ? limit : 0
        }
    }

    /// What a worker may take next: without a speed limit a chunk, more of it where it is zero; else no more than what a
    /// slice of time lets in, in whole clusters and at least one.
    func bounds(speed: UInt64) -> Bounds {
        guard speed > 0 else { return Bounds(limit: chunk, growth: growth, isLimited: false) }
        let quota = RateLimit(speed: speed).quota.alignedDown(to: clusterSize)
        return Bounds(limit: max(clusterSize, min(chunk, quota)), growth: growth, isLimited: true)
    }
}
