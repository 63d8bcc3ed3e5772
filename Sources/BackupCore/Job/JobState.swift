// SPDX-License-Identifier: GPL-2.0-or-later

/// Where a job is in its life. The raw values are QMP's.
///
/// QMP has two more, `ready` and `standby`; they belong to jobs that keep following their source, which a backup does not.
package enum JobState: String, Sendable, CaseIterable {
    case created
    case running
    case paused
    /// Done with its work, waiting for the other members of its transaction.
    case waiting
    /// Waiting to be finalised.
    case pending
    /// Failed or cancelled, and undoing.
    case aborting
    /// Over, and still there to be asked how it went.
    case concluded
    /// Gone.
    case null

    /// The states that may follow this one.
    package var successors: [JobState] {
        switch self {
        case .created: [.running, .aborting, .null]
        case .running: [.paused, .waiting, .aborting]
        case .paused: [.running]
        case .waiting: [.pending, .aborting]
        case .pending: [.concluded, .aborting]
        case .aborting: [.concluded]
        case .concluded: [.null]
        case .null: []
        }
    }
}
