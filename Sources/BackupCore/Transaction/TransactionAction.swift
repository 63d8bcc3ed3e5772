// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// One step of a transaction.
///
/// `prepare` does all that can fail, and leaves nothing changed where it does. Afterwards either `commit` or `undo` is
/// called, once, and neither fails. The devices are drained all the while.
package protocol TransactionAction: AnyObject {
    /// What the action is called in QMP.
    var name: String { get }
    /// Whether it may be in a transaction whose jobs end together.
    var knowsGroupedCompletion: Bool { get }
    /// What must stand still for the transaction.
    var devices: [GuestDevice] { get }

    func prepare(in group: TransactionGroup) async throws(JobError)
    func commit(in group: TransactionGroup)
    func undo()
}

extension TransactionAction {
    package var knowsGroupedCompletion: Bool { true }
    package var devices: [GuestDevice] { [] }

    package func commit(in group: TransactionGroup) {}
    package func undo() {}
}

/// Makes a transaction fail: for those who try how it is undone.
package final class AbortAction: TransactionAction {
    package init() {}

    package var name: String { "abort" }

    /// - Throws: `JobError.transactionAborted`, always.
    package func prepare(in group: TransactionGroup) async throws(JobError) {
        throw .transactionAborted
    }
}

/// What the actions of one transaction have in common: whether their jobs end together, and where jobs run.
package struct TransactionGroup: Sendable {
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
