// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService

/// What of the source could not be read, for a person.
struct UnreadableText {
    /// A disk that is dying may have millions.
    static let mostLines = 100

    let lines: [String]

    init(_ ranges: [Range<UInt64>]) {
        var lines = ranges.prefix(Self.mostLines).map { range in
            let length = UInt64(range.count)
            return "could not be read, and is zero in the target: \(length) bytes at offset \(range.lowerBound)"
        }
        if ranges.count > Self.mostLines {
            let rest = ranges.dropFirst(Self.mostLines)
            let bytes = ByteSize(rest.reduce(0) { $0 + UInt64($1.count) })
            lines.append("and \(rest.count) more ranges, \(bytes) altogether (--output=json lists them all)")
        }
        self.lines = lines
    }
}
