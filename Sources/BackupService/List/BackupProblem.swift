// SPDX-License-Identifier: GPL-2.0-or-later

/// What is wrong with a file in a folder of backups.
package struct BackupProblem: Sendable, Equatable {
    /// Stable names that scripts may rely on.
    package enum Kind: String, Sendable, CaseIterable {
        /// It can't be opened, or its header breaks the format.
        case unreadable
        /// Its header was never written: a run of this program was interrupted, or still goes on.
        case unfinished
        case dataFileMissing = "data-file-missing"
        case parentMissing = "parent-missing"
        /// The parent is another backup, or holds something else, than when this one was made.
        case parentReplaced = "parent-replaced"
        /// What is recorded as parent can't be one, or can't be followed.
        case parentUnusable = "parent-unusable"
        /// The parent is in this folder, and recorded in another.
        case parentMoved = "parent-moved"
        /// It was made on another file than it records now, and may hold more than then: nothing proves it any more.
        case rebased
        case loop
        case tooDeep = "too-deep"
        case manifestDamaged = "manifest-damaged"
        case manifestForeign = "manifest-foreign"
        /// Parts of the source could not be read when it was made.
        case incomplete
        /// A proof has found that it is not as it was written.
        case badContent = "bad-content"

        /// Whether the disk as it was when the backup was made can't be had from it.
        var breaksDisk: Bool {
            switch self {
            case .unreadable, .unfinished, .dataFileMissing, .parentMissing, .parentReplaced, .parentUnusable,
                .loop, .tooDeep, .badContent:
                true
            case .parentMoved, .rebased, .manifestDamaged, .manifestForeign, .incomplete: false
            }
        }
    }

    package let kind: Kind
    /// One line.
    package let message: String

    init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }
}
