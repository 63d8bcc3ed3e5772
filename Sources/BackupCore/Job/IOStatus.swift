// SPDX-License-Identifier: GPL-2.0-or-later

/// Whether a job stands still because of an error. The raw values are QMP's.
public enum IOStatus: String, Sendable, CaseIterable {
    case ok
    case failed
    case noSpace = "nospace"
}
