// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import FoundationEssentials

/// What earlier runs of `verify` have found of a backup.
package struct ProofRecord: Sendable, Equatable {
    package enum State: String, Sendable {
        /// It was never looked at, or only before something was written to it, or where it was copied from.
        case never
        /// Some of it has been looked at, and nothing was wrong with that.
        case partly
        /// All of it has been as it was written.
        case proven
        /// Some of it was not as it was written.
        case bad
    }

    package var state = State.never
    /// Whether its structure was found damaged.
    package var isDamaged = false
    /// When something of it was last looked at.
    package var checked: Date?
    /// When all of it was last as it was written.
    package var proven: Date?
    /// Ranges of 1 MiB that were not as written. Counted up to a thousand.
    package var badRanges = 0

    init() {}

    /// - Parameters:
    ///   - verified: what is beside the backup.
    ///   - backup: by its manifest.
    ///   - files: as they are now; `nil` where nothing tells whether they are as they were.
    init(_ verified: VerifyState?, of backup: ManifestHeader, in files: StoredFiles?) {
        guard let verified, verified.isOf(backup) else { return }
        let isSame = files.map { $0 == verified.files } ?? false
        // What was bad stays so until it is looked at again, also in a file that was written to or copied.
        badRanges = min(verified.bad.count, VerifyState.mostBad)
        isDamaged = isSame && verified.isDamaged == true
        guard isSame || badRanges > 0 else { return }
        checked = verified.checked
        proven = isSame ? verified.proven : nil
        state = badRanges > 0 || isDamaged ? .bad : (proven == nil ? .partly : .proven)
    }
}
