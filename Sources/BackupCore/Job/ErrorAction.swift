// SPDX-License-Identifier: GPL-2.0-or-later

/// What a job did about an error. The raw values are QMP's.
public enum ErrorAction: String, Sendable, CaseIterable {
    case report
    case ignore
    case stop
}
