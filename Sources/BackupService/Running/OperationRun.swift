// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage

/// What an operation runs on: threads on which it may block, and a task that others can cancel.
final class OperationRun: Sendable {
    private struct State {
        var isCancelled = false
        var cancelTask: (@Sendable () -> Void)?
    }

    private let state = Locked(State())

    var isCancelled: Bool { state.withLock { $0.isCancelled } }

    /// Asks the operation to end: what it asks of devices from then on fails. From any thread, also before it runs.
    func cancel() {
        let cancelTask = state.withLock { state in
            state.isCancelled = true
            return state.cancelTask
        }
        cancelTask?()
    }

    /// Runs an operation to its end.
    ///
    /// - Parameters:
    ///   - count: threads that are wanted; there may be fewer.
    ///   - body: gets the threads.
    /// - Throws: what `body` throws, `ServiceError.cancelled` after `cancel()` or where the calling task is cancelled,
    ///   and errors of its own where the system has no thread or not enough memory.
    func callAsFunction<Value: Sendable>(
        threads count: Int, _ body: @escaping @Sendable (WorkerThreads) async throws(ServiceError) -> Value
    ) async throws(ServiceError) -> Value {
        let workers = WorkerThreads(count: try Self.affordable(count))
        defer { workers.stop() }
        if let error = workers.startFailure { throw Self.noThread(error) }
        let task = Task(executorPreference: workers) { () async -> Result<Value, ServiceError> in
            let record = Cancellation.Record()
            return await Cancellation.recording(in: record) {
                do throws(ServiceError) {
                    return .success(try await body(workers))
                } catch {
                    return .failure(error.isExplained(byRefusals: record.hasRefused) ? .cancelled : error)
                }
            }
        }
        let isCancelled = state.withLock { state in
            state.cancelTask = { task.cancel() }
            return state.isCancelled
        }
        if isCancelled { task.cancel() }
        let result = await withTaskCancellationHandler {
            await task.value
        } onCancel: {
            task.cancel()
        }
        return try result.get()
    }

    // MARK: What the system has

    /// Bytes that an operation takes whatever the number of its threads: tables, digests, messages.
    private static let memory = 160 << 20
    /// Bytes that each thread takes: its stack, buffers, a compressor.
    private static let threadMemory = 16 << 20

    /// How many threads there is memory for, of so many that are wanted.
    private static func affordable(_ count: Int) throws(ServiceError) -> Int {
        var count = count
        while !SystemMemory.hasRoom(for: memory + count * threadMemory) {
            guard count > 1 else {
                throw ServiceError(
                    .io, "there is not enough memory: \((memory + threadMemory) >> 20) MiB of address space are needed",
                    advice: "raise the limit: see ulimit -v and -d, or the limits of the container")
            }
            count /= 2
        }
        return count
    }

    private static func noThread(_ error: Errno) -> ServiceError {
        ServiceError(
            .io, "no thread could be started: \(error)",
            advice: "a limit on processes or on memory is reached: see ulimit -u and -v, or the limits of the container"
        )
    }
}

extension ServiceError {
    /// Whether the run failed since it was cancelled. Where a look at a file was refused, what is said of the file (that it
    /// is no manifest, say) may be wrong. Failures of the system are reported as they are.
    fileprivate func isExplained(byRefusals hasRefused: Bool) -> Bool {
        switch code {
        case .cancelled: true
        case .usage, .notFound, .exists, .inconsistent, .corrupt, .unsupported: hasRefused
        case .locked, .permission, .noSpace, .bitmapNotUpdated, .io: false
        }
    }
}
