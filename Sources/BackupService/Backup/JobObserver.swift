// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore

/// Tells the user about errors after which a job goes on or stands still.
struct JobObserver {
    let warn: @Sendable (String) -> Void

    /// Returns when the job is over.
    func follow(_ events: AsyncStream<JobEvent>) async {
        var retried: Range<UInt64>?
        for await event in events {
            guard case .failure(let failure, let action) = event else { continue }
            switch action {
            case .report: break  // the job ends with it
            case .stop:
                warn("\(failure.underlying); the run stands still (Enter, or signal USR2, makes it try again)")
            case .ignore:
                // What the source can't give is listed at the end. The target may be tried many times a second.
                guard failure.side == .target, failure.range != retried else { continue }
                retried = failure.range
                warn("\(failure.underlying); trying until it works")
            }
        }
    }
}
