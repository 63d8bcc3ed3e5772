// SPDX-License-Identifier: GPL-2.0-or-later

/// What a user may ask of a job. The raw values are QMP's.
package enum JobVerb: String, Sendable, CaseIterable {
    case cancel
    case pause
    case resume
    case setSpeed = "set-speed"
    case complete
    case finalize
    case dismiss

    /// Whether a backup job in `state` accepts this.
    package func isAllowed(in state: JobState) -> Bool {
        switch self {
        case .cancel: ![.aborting, .concluded, .null].contains(state)
        case .pause, .resume, .setSpeed: [.created, .running, .paused].contains(state)
        // For jobs that follow their source until told to end; a backup ends by itself.
        case .complete: false
        case .finalize: state == .pending
        case .dismiss: state == .concluded
        }
    }
}
