// SPDX-License-Identifier: GPL-2.0-or-later

/// One run of the backup command: opens the source, makes the target, copies, and makes the result durable.
public final class BackupOperation: Sendable {
    private let request: BackupRequest
    private let warn: @Sendable (String) -> Void

    /// - Parameter warn: called with one line for each thing that the user should know and that stops nothing.
    public init(_ request: BackupRequest, warn: @escaping @Sendable (String) -> Void) {
        self.request = request
        self.warn = warn
    }

    /// How far the run is. May be asked at any time, from any thread.
    public var progress: BackupProgress {
        BackupProgress(offset: 0, length: 0)
    }

    /// Asks the run to end: `run` then throws `cancelled` once the target is cleaned up.
    public func cancel() {}

    /// Runs the backup. Returns once it is complete and on stable storage.
    ///
    /// - Throws: `ServiceError`; the target is then absent, or marked unfinished where it existed before.
    public func run() async throws(ServiceError) -> BackupSummary {
        throw ServiceError(.unsupported, "not written yet")
    }
}
