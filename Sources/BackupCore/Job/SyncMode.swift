// SPDX-License-Identifier: GPL-2.0-or-later

/// Which part of the source a backup copies. The raw values are QMP's.
public enum SyncMode: String, Sendable, CaseIterable {
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
