// SPDX-License-Identifier: GPL-2.0-or-later

import SystemPackage

/// Whether a job stands still because of an error. The raw values are QMP's.
public enum IOStatus: String, Sendable, CaseIterable {
    case ok
    case failed
    case noSpace = "nospace"

    /// Whether there is no room, on the disk or in a quota: what a user can do something about.
    static func isNoSpace(_ errno: Errno) -> Bool {
        errno == .noSpace || errno == .diskQuotaExceeded
    }
}
