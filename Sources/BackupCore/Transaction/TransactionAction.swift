// SPDX-License-Identifier: GPL-2.0-or-later

/// One step of a transaction.
///
/// `prepare` does all that can fail, and leaves nothing changed where it does. Afterwards either `commit` or `undo` is
/// called, once, and neither fails. The devices are drained all the while.
public protocol TransactionAction: AnyObject {
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
    public var knowsGroupedCompletion: Bool { true }
    public var devices: [GuestDevice] { [] }

    public func commit(in group: TransactionGroup) {}
    public func undo() {}
}
