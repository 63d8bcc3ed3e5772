// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import SystemPackage

/// The unit of copying: one bit of the copy bitmap.
///
/// At least as large as the target's clusters. Where the target has no backing file, a target cluster that is written in
/// part reads as zeroes elsewhere, so half a target cluster must never be all that a backup copies.
package struct CopyClusterSize: Sendable, Equatable {
    /// Bytes in a copy cluster, where the target doesn't ask for more.
    package static let minimum: UInt64 = 65536
    /// Largest target cluster that is accepted, in bytes. Buffers hold at least one.
    package static let maximum: UInt64 = 32 << 20

    /// Bytes in a copy cluster.
    package let bytes: UInt64
    /// Bytes in a target cluster; 0 where it has none, or can't tell.
    package let targetBytes: UInt64
    /// What the user should know.
    package let warning: String?

    /// Chooses the unit for copying to `target`.
    ///
    /// - Throws: `JobError.clusterSizeUnknown`, `.clusterSizeUnusable`.
    package init(for target: any BlockDevice) async throws(JobError) {
        var warning: String?
        var targetBytes: UInt64 = 0
        do {
            targetBytes = try await target.clusterSize()
        } catch {
            // With a backing file, what isn't written shows the right content whatever the cluster size.
            if !target.capabilities.hasBackingFile {
                guard error.errno == .notSupported else {
                    throw .clusterSizeUnknown(target: target.name, underlying: error)
                }
                warning =
                    "\(target.name) cannot tell its cluster size and has no backing file; "
                    + "if its clusters are larger than \(Self.minimum) bytes, the backup may be unusable"
            }
        }
        guard targetBytes == 0 || targetBytes.nonzeroBitCount == 1, targetBytes <= Self.maximum else {
            throw .clusterSizeUnusable(target: target.name, clusterSize: targetBytes)
        }
        bytes = max(Self.minimum, targetBytes)
        self.targetBytes = targetBytes
        self.warning = warning
    }

    /// Bytes of a file system block: the smallest hole that saves room in a file.
    private static let holeLength: UInt64 = 4096

    /// The unit in which zeroes are told from data. Finer would only allocate more pieces, not fewer bytes.
    var zeroUnit: UInt64 {
        targetBytes == 0 ? Self.holeLength : targetBytes
    }
}
