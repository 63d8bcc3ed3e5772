// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService

/// Progress as one line of text: percent, a bar, bytes copied, rate, time left, as far as the width allows.
struct ProgressLine {
    let report: ProgressReport

    init(_ report: ProgressReport) {
        self.report = report
    }

    private static let bar = (shortest: 10, longest: 40)

    /// The line without a bar, for a log.
    var text: String {
        ([report.percent.trimmingPrefix(" ").description] + details(aligned: false)).joined(separator: "  ")
    }

    /// The line for a terminal of so many columns. The last column stays empty: writing there may wrap the line.
    ///
    /// What doesn't fit is left out, the least important first: the bar, then the time left, the rate, the bytes.
    func text(columns: Int) -> String {
        let room = max(0, columns - 1)
        var parts = details(aligned: true)
        while !parts.isEmpty {
            let rest = parts.joined(separator: "  ")
            let spare = room - report.percent.count - rest.count - 2
            // Two brackets and the space before them.
            let barLength = min(Self.bar.longest, spare - 3)
            if barLength >= Self.bar.shortest {
                return "\(report.percent) [\(bar(barLength))]  \(rest)"
            }
            if spare >= 0 {
                return "\(report.percent)  \(rest)"
            }
            parts.removeLast()
        }
        return String(report.percent.prefix(room))
    }

    /// - Parameter aligned: whether to pad the numbers that change, so that a line drawn over itself stands still.
    private func details(aligned: Bool) -> [String] {
        func text(_ bytes: UInt64) -> String {
            let size = ByteSize(bytes).description
            return aligned ? String(repeating: " ", count: max(0, Self.sizeLength - size.count)) + size : size
        }
        var parts = ["\(text(report.offset)) of \(ByteSize(report.length))", "\(text(report.bytesPerSecond))/s"]
        if let seconds = report.secondsLeft {
            parts.append("\(ClockTime(seconds: seconds)) left")
        }
        return parts
    }

    /// The longest size: `1023 KiB`.
    private static let sizeLength = 8

    private func bar(_ length: Int) -> String {
        let filled = length * report.permille / 1000
        if filled == length { return String(repeating: "=", count: length) }
        return String(repeating: "=", count: filled) + ">" + String(repeating: " ", count: length - filled - 1)
    }
}
