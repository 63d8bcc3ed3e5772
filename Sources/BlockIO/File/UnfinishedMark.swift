// SPDX-License-Identifier: GPL-2.0-or-later

/// What the first sector of a file holds that this program makes, until the rest is on stable storage: nothing that any
/// program takes for a disk, and nothing that somebody else would have written there.
package enum UnfinishedMark {
    private static let text = "qcowbackup: unfinished\n"

    /// The sector.
    package static let sector: [UInt8] =
        Array(text.utf8)
        + [UInt8](repeating: 0, count: Int(HeadLastDevice.sectorLength) - text.utf8.count)

    /// Whether a file that begins so is one of them. It may be empty: the mark is the first that is written to it.
    ///
    /// - Parameter start: the first bytes, at least `text`'s, as far as there are any.
    package static func isMark(_ start: [UInt8]) -> Bool {
        start.starts(with: text.utf8) || start.isEmpty
    }
}
