// SPDX-License-Identifier: GPL-2.0-or-later

/// What to repair.
public enum RepairScope: String, Sendable, CaseIterable {
    /// Refcounts that are too high are lowered; nothing else changes.
    case leaks
    /// All that can be repaired without making the content of the disk worse.
    case all
}

/// An image before and after its repair.
public struct RepairOutcome: Sendable {
    public let before: CheckReport
    public var after: CheckReport
    public let corruptionsFixed: UInt64
    public let leaksFixed: UInt64

    init(before: CheckReport, after: CheckReport) {
        self.before = before
        self.after = after
        corruptionsFixed = before.corruptions - min(before.corruptions, after.corruptions)
        leaksFixed = before.leaks - min(before.leaks, after.leaks)
    }
}
