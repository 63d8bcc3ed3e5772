// SPDX-License-Identifier: GPL-2.0-or-later

import SystemPackage

/// What to do when the background copying fails. The raw values are QMP's.
package enum ErrorPolicy: String, Sendable, CaseIterable {
    /// End the job.
    case report
    /// Try the same cluster again until it works or the job is cancelled.
    case ignore
    /// Pause until the user resumes the job, then try again.
    case stop
    /// Stop where there is no space, report all else.
    case enospc
    /// As `enospc`.
    case auto

    /// What an error leads to.
    package func action(for errno: Errno) -> ErrorAction {
        switch self {
        case .report: .report
        case .ignore: .ignore
        case .stop: .stop
        case .enospc, .auto: IOStatus.isNoSpace(errno) ? .stop : .report
        }
    }
}

/// What a job did about an error. The raw values are QMP's.
package enum ErrorAction: String, Sendable, CaseIterable {
    case report
    case ignore
    case stop
}

/// Whether a job stands still because of an error. The raw values are QMP's.
package enum IOStatus: String, Sendable, CaseIterable {
    case ok
    case failed
    case noSpace = "nospace"

    /// Whether there is no room, on the disk or in a quota: what a user can do something about.
    static func isNoSpace(_ errno: Errno) -> Bool {
        errno == .noSpace || errno == .diskQuotaExceeded
    }
}
