// SPDX-License-Identifier: GPL-2.0-or-later

/// Which part of the source a backup copies. The raw values are QMP's.
package enum SyncMode: String, Sendable, CaseIterable {
    /// Everything that the disk shows.
    case full
    /// What the top layer of the source holds.
    case top
    /// Nothing, except what the guest is about to overwrite.
    case none
    /// What a bitmap says changed since the last successful backup.
    case incremental
    /// What a bitmap says.
    case bitmap
}

/// What a job makes of its bitmap when it ends. The raw values are QMP's.
package enum BitmapMode: String, Sendable, CaseIterable {
    /// Keeps it, with what was written meanwhile.
    case never
    /// After success it holds what was written meanwhile; otherwise it is kept.
    case onSuccess = "on-success"
    /// It holds what was written meanwhile and what the target is still owed.
    case always
}
