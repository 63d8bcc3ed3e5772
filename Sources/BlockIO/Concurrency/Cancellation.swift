// SPDX-License-Identifier: GPL-2.0-or-later

/// The end of work that is no longer wanted: what a cancelled task asks of a device is refused.
///
/// Whatever takes long asks devices again and again, so no loop has to look for itself. Work that must be completed all
/// the same, such as tidying up, is done inside `ignoring`.
package enum Cancellation {
    @TaskLocal private static var isIgnored = false
    @TaskLocal private static var record: Record?

    /// Whether something was refused. An error that comes then may well be a consequence; before that it is none.
    package final class Record: Sendable {
        private let refused = Locked(false)

        package init() {}

        package var hasRefused: Bool { refused.withLock { $0 } }

        fileprivate func note() { refused.withLock { $0 = true } }
    }

    /// - Throws: `BlockError.cancelled` where the current task, or the one that it is a part of, was cancelled.
    package static func check() throws(BlockError) {
        // Nearly always there is nothing more to look at.
        guard Task.isCancelled, !isIgnored else { return }
        record?.note()
        throw .cancelled
    }

    /// Runs work and keeps in `record` whether something of it is refused.
    package static func recording<Value>(in record: Record, _ body: () async -> Value) async -> Value {
        await $record.withValue(record, operation: body)
    }

    /// Runs what must not be broken off, whether the task was cancelled or is while it runs.
    package static func ignoring<Value, Failure: Error>(
        _ body: () async throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        let result = await $isIgnored.withValue(true) { () async -> Result<Value, Failure> in
            do throws(Failure) {
                return .success(try await body())
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }
}
