// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// What the actions of one transaction have in common: whether their jobs end together, and where jobs run.
public struct TransactionGroup: Sendable {
    let workers: any TaskExecutor
    let threads: Int
    let clock: any JobClock
    /// `nil` where each job ends for itself.
    let shared: JobGroup?

    /// The group that a job of the transaction belongs to.
    var jobGroup: JobGroup {
        shared ?? JobGroup()
    }
}
