// SPDX-License-Identifier: GPL-2.0-or-later

public import SystemPackage

/// What to do when the background copying fails. The raw values are QMP's.
public enum ErrorPolicy: String, Sendable, CaseIterable {
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
    public func action(for errno: Errno) -> ErrorAction {
        switch self {
        case .report: .report
        case .ignore: .ignore
        case .stop: .stop
        case .enospc, .auto: IOStatus.isNoSpace(errno) ? .stop : .report
        }
    }
}
