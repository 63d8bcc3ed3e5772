// SPDX-License-Identifier: GPL-2.0-or-later

public import BlockIO

extension BackupJob {
    /// Memory in bytes that the default chunk size lets the workers' buffers take together.
    private static let defaultBufferMemory: UInt64 = 16 << 20
    /// Bounds of the default chunk size in bytes.
    private static let defaultChunks: ClosedRange<UInt64> = 256 << 10...2 << 20
    /// Largest chunk in bytes, whatever is asked for.
    private static let longestChunk = CopyClusterSize.maximum
    /// Memory in bytes that the workers' buffers may take together, whatever is asked for.
    private static let maximumBufferMemory: UInt64 = 128 << 20
    /// Longest run of zeroes in bytes that is written at once: no buffer limits it, but cancelling waits for it.
    private static let longestZeroRun: UInt64 = 16 << 30

    /// Runs the job to its end. All I/O is done by tasks on `workers`.
    ///
    /// - Throws: `JobError.copy` and `.scan` for the first failure; `.cancelled` after `cancel()`, or when the task that
    ///   calls this is cancelled; `.alreadyStarted`.
    public func run(on workers: WorkerThreads) async throws(JobError) {
        try lifecycle.start(job: id)
        await withTaskCancellationHandler {
            await withTaskExecutorPreference(workers) {
                if configuration.sync == .top { await scan() }
                await copyAll(workers)
            }
        } onCancel: {
            cancel()
        }
        try lifecycle.conclude()
    }

    /// Takes what the top layer doesn't hold out of what is to be copied.
    private func scan() async {
        var scan = AllocationScan(source: copy.source, clusterSize: clusterSize)
        while !scan.isFinished, lifecycle.mayGoOn {
            await Task.yield()
            do {
                if let unallocated = try await scan.next() { copy.skip(unallocated) }
            } catch {
                lifecycle.fail(.scan(offset: scan.position, underlying: error))
            }
        }
    }

    /// Copies until nothing is owed any more.
    private func copyAll(_ workers: WorkerThreads) async {
        let wanted = UInt64(configuration.maxWorkers ?? workers.count)
        let chunk = chunkLength(workerCount: wanted)
        let workerCount = min(wanted, max(1, Self.maximumBufferMemory / chunk))
        // A range that failed behind a worker's back is owed again, so look once more when all are idle.
        while lifecycle.mayGoOn, !copy.isComplete {
            let chunks = (copy.progress.remaining - 1) / chunk + 1
            await withTaskGroup(of: Void.self) { group in
                for _ in 0..<min(workerCount, chunks) {
                    group.addTask(executorPreference: workers) { await self.work(chunk: chunk) }
                }
            }
        }
    }

    private func chunkLength(workerCount: UInt64) -> UInt64 {
        if let chunk = configuration.maxChunk, chunk != 0 {
            return copy.chunkLength(atMost: min(chunk, Self.longestChunk))
        }
        let share = Self.defaultBufferMemory / workerCount
        return copy.chunkLength(atMost: min(max(share, Self.defaultChunks.lowerBound), Self.defaultChunks.upperBound))
    }

    /// One worker: takes a range, copies it, and so on until there is none, or the job is to end.
    private func work(chunk: UInt64) async {
        // A chunk has an upper bound, so it fits an Int.
        var buffer = AlignedBuffer(count: Int(chunk))
        while lifecycle.mayGoOn {
            // Others that use these threads get their turn.
            await Task.yield()
            guard let request = copy.take(limit: chunk, growth: Self.longestZeroRun) else { return }
            do {
                try await copy.copy(request, through: &buffer)
            } catch {
                lifecycle.fail(.copy(error))
            }
        }
    }
}
