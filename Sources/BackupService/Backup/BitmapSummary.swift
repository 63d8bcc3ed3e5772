// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore

/// What a finished backup did about its bitmap.
package struct BitmapSummary: Sendable, Equatable {
    /// How it went to bring the bitmap up to the backup.
    package enum Update: Sendable, Equatable {
        case done
        /// The bitmap is as it was.
        case failed
        /// It is as it was, or up to the backup.
        case unknown
    }

    package var name: String
    /// What became of it.
    package var mode: BitmapMode
    /// The target's backing file as it is recorded; `nil` for a target that stands alone, or has the source's.
    package var parent: String?
    /// Why a full backup was made where an increment was asked for; `nil` where none was.
    package var fallback: String?
    /// Whether there was nothing to copy: an increment of a disk that has not changed.
    package var isUnchanged: Bool
    /// `nil` where it was to stay as it is.
    package var update: Update?

    package init(
        name: String, mode: BitmapMode, parent: String? = nil, fallback: String? = nil,
        isUnchanged: Bool = false, update: Update? = .done
    ) {
        self.name = name
        self.mode = mode
        self.parent = parent
        self.fallback = fallback
        self.isUnchanged = isUnchanged
        self.update = update
    }
}
