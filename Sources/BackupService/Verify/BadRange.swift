// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest

/// A part of a disk that a backup does not hold as it did when it was made.
package struct BadRange: Sendable, Equatable {
    package enum Reason: String, Sendable {
        /// The content is another one.
        case differs
        /// The backup held nothing there, and now hides what its parent holds.
        case unexpected
        case unreadable
    }

    /// In bytes of the disk.
    package let range: Range<UInt64>
    package let reason: Reason
    /// Why it can't be read; `nil` where it can.
    package let message: String?

    init(range: Range<UInt64>, reason: Reason, message: String? = nil) {
        (self.range, self.reason, self.message) = (range, reason, message)
    }

    init(range: Range<UInt64>, _ fault: ContentFault) {
        self.range = range
        switch fault {
        case .differs: (reason, message) = (.differs, nil)
        case .unexpected: (reason, message) = (.unexpected, nil)
        case .unreadable(let error): (reason, message) = (.unreadable, "\(error)")
        }
    }
}
