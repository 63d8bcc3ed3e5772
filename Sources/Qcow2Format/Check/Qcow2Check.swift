// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// Checks the structure of an image, and repairs it.
///
/// Everything that is wrong is reported, with counts and places. The content of the disk is not looked at.
package struct Qcow2Check: Sendable {
    let file: any Storage
    /// Largest number of clusters whose references are counted at once: a multiple of 64.
    let maximumWindow: UInt64

    /// - Parameter file: open for writing where it is to be repaired.
    package init(_ file: any Storage) {
        self.init(file, maximumWindow: ReferenceWindow.maximumCount)
    }

    init(_ file: any Storage, maximumWindow: UInt64) {
        self.file = file
        self.maximumWindow = maximumWindow
    }

    /// Checks the image.
    ///
    /// - Throws: `BlockError` where the file itself can't be read at its start; later errors are problems in the report.
    /// - Complexity: O(n) in the clusters that are allocated or have a refcount.
    package func run() async throws(BlockError) -> CheckReport {
        try await examine().report
    }

    /// - Returns: also the run, for who repairs; `nil` where the header is too broken for one.
    func examine() async throws(BlockError) -> (report: CheckReport, run: CheckRun?) {
        var log = ProblemLog()
        var report = CheckReport()
        guard let header = try await CheckedHeader.read(file, log: &log) else {
            report.take(log)
            return (report, nil)
        }
        let run = CheckRun(header, of: file, log: log, maximumWindow: maximumWindow)
        try await run.check()
        report.take(run.log)
        let layout = run.layout
        report.totalClusters = layout.size.dividedRoundingUp(by: layout.geometry.clusterLength)
        report.allocatedClusters = run.allocated
        report.fragmentedClusters = run.fragmented
        report.compressedClusters = run.compressed
        report.dataFileEnd = run.dataFileEnd
        report.imageEndOffset = (run.lastCluster + 1) << UInt64(layout.geometry.clusterBits)
        return (report, run)
    }
}

extension Qcow2Check {
    /// Checks the image, and repairs it.
    ///
    /// - Parameter announce: called with one line for each kind of change, before it is made.
    /// - Throws: `BlockError` where the file fails; a repair that was begun is finished by the next one.
    package func repair(
        _ scope: RepairScope, announce: @escaping (String) -> Void
    ) async throws(BlockError) -> RepairOutcome {
        let (before, run) = try await examine()
        guard let run else {
            announce("nothing is repaired: the header is damaged")
            return RepairOutcome(before: before, after: before)
        }
        return try await ImageRepair(self, announce: announce).repair(scope, before: before, run)
    }
}

/// What to repair.
package enum RepairScope: String, Sendable, CaseIterable {
    /// Refcounts that are too high are lowered; nothing else changes.
    case leaks
    /// All that can be repaired without making the content of the disk worse.
    case all
}

/// An image before and after its repair.
package struct RepairOutcome: Sendable {
    package let before: CheckReport
    package var after: CheckReport
    package let corruptionsFixed: UInt64
    package let leaksFixed: UInt64

    init(before: CheckReport, after: CheckReport) {
        self.before = before
        self.after = after
        corruptionsFixed = before.corruptions - min(before.corruptions, after.corruptions)
        leaksFixed = before.leaks - min(before.leaks, after.leaks)
    }
}
