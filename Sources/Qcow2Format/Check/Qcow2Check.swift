// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
public import BlockIO

/// Checks the structure of an image, and repairs it.
///
/// Everything that is wrong is reported, with counts and places. The content of the disk is not looked at.
public struct Qcow2Check: Sendable {
    let file: any StorageDevice
    /// Largest number of clusters whose references are counted at once: a multiple of 64.
    let maximumWindow: UInt64

    /// - Parameter file: open for writing where it is to be repaired.
    public init(_ file: any StorageDevice) {
        self.init(file, maximumWindow: ReferenceWindow.maximumCount)
    }

    init(_ file: any StorageDevice, maximumWindow: UInt64) {
        self.file = file
        self.maximumWindow = maximumWindow
    }

    /// Checks the image.
    ///
    /// - Throws: `BlockError` where the file itself can't be read at its start; later errors are problems in the report.
    /// - Complexity: O(n) in the clusters that are allocated or have a refcount.
    public func run() async throws(BlockError) -> CheckReport {
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
