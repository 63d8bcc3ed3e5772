// SPDX-License-Identifier: GPL-2.0-or-later

/// What a job makes of its bitmap when it ends. The raw values are QMP's.
public enum BitmapMode: String, Sendable, CaseIterable {
    /// Keeps it, with what was written meanwhile.
    case never
    /// After success it holds what was written meanwhile; otherwise it is kept.
    case onSuccess = "on-success"
    /// It holds what was written meanwhile and what the target is still owed.
    case always
}
