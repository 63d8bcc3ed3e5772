// SPDX-License-Identifier: GPL-2.0-or-later

/// Makes a transaction fail: for those who try how it is undone.
public final class AbortAction: TransactionAction {
    public init() {}

    public var name: String { "abort" }

    /// - Throws: `JobError.transactionAborted`, always.
    public func prepare(in group: TransactionGroup) async throws(JobError) {
        throw .transactionAborted
    }
}
