// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService

/// What a progress line says, in whichever form.
struct ProgressReport: Equatable {
    var offset: UInt64
    var length: UInt64
    var bytesPerSecond: UInt64
    /// Whether the run is over and its result on stable storage.
    var isComplete = false

    init(_ progress: BackupProgress, bytesPerSecond: UInt64) {
        offset = progress.offset
        length = progress.length
        self.bytesPerSecond = bytesPerSecond
    }

    /// The last report of a run that succeeded.
    static func complete(_ progress: BackupProgress, bytesPerSecond: UInt64) -> ProgressReport {
        var report = ProgressReport(progress, bytesPerSecond: bytesPerSecond)
        report.length = max(progress.length, progress.offset)
        report.offset = report.length
        report.isComplete = true
        return report
    }

    /// Tenths of a percent, rounded down. 1000 only once the result is on stable storage: while the data are flushed,
    /// everything is copied and nothing is safe.
    var permille: Int {
        if isComplete { return 1000 }
        guard length > 0 else { return 0 }
        return min(999, Int(Double(min(offset, length)) / Double(length) * 1000))
    }

    /// `42.3%`, always five or six characters.
    var percent: String {
        let text = "\(permille / 10).\(permille % 10)%"
        return permille < 100 ? " " + text : text
    }

    /// Seconds to the end at the present rate; `nil` where that can't be said.
    var secondsLeft: UInt64? {
        guard length > 0 else { return nil }
        guard offset < length else { return 0 }
        guard bytesPerSecond > 0 else { return nil }
        let left = length - offset
        return left / bytesPerSecond + (left % bytesPerSecond == 0 ? 0 : 1)
    }
}
