// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

extension Qcow2Image {
    /// Finds out, from tables alone, whether all that a range shows lies inside its file: in this image or, where it leaves
    /// the range to them, in its backing files. Of a raw backing file nothing can be said.
    ///
    /// - Throws: what reading the first cluster behind the end of a file would throw, and what is wrong with tables.
    /// - Complexity: reads each L2 table once; clusters of a file are not read.
    package func checkNotCutOff(_ range: Range<UInt64>) async throws(BlockError) {
        try checkRange(at: range.lowerBound, length: range.upperBound - range.lowerBound)
        var position = range.lowerBound
        while position < range.upperBound {
            let runs = try await metadata.runs(at: GuestOffset(position), length: range.upperBound - position)
            for run in runs {
                switch run.kind {
                case .zero: break
                case .data(let host): try checkStored(host, run: run, fileLength: storage.length)
                case .compressed(let descriptor): try checkStored(descriptor, run: run)
                case .unallocated:
                    guard let image = backing as? Qcow2Image, run.guest.bytes < image.length else { continue }
                    try await image.checkNotCutOff(run.guest.bytes..<min(run.end, image.length))
                }
            }
            position = runs[runs.count - 1].end
        }
    }

    /// What the user should know before relying on the disk; `nil` for nothing.
    ///
    /// Entries of an L2 table in the file's last cluster that aren't there are taken for unallocated, as QEMU does.
    package var warning: String? {
        let cut = metadata.state.withLock { $0.l1 }.lazy.compactMap { L1Entry(rawValue: $0).l2TableOffset?.bytes }
            .first { $0 < self.file.length && self.file.length - $0 < self.geometry.clusterLength }
        return cut.map {
            "\(name): the file ends inside the L2 table at offset \($0): what its missing entries led to is not read"
        }
    }

    /// Parts of the disk that are lost although they read as zeroes: those that the last cluster of a file lacks, where
    /// whole clusters behind it are missing as well.
    ///
    /// - Returns: guest ranges, in order.
    /// - Complexity: reads each L2 table once; clusters of a file are not read.
    package func lostPadding() async throws(BlockError) -> [Range<UInt64>] {
        var ends: [ObjectIdentifier: FileEnd] = [:]
        try await gatherPadding(0..<length, into: &ends)
        return ends.values.filter(\.isCut).flatMap(\.padding).sorted { $0.lowerBound < $1.lowerBound }
    }

    /// What a disk shows of the end of a file.
    private struct FileEnd {
        /// Whether whole clusters are missing.
        var isCut = false
        var padding: [Range<UInt64>] = []
    }

    private func gatherPadding(
        _ range: Range<UInt64>, into ends: inout [ObjectIdentifier: FileEnd]
    ) async throws(BlockError) {
        let stored = storage.length
        let end = stored.alignedUp(to: geometry.clusterLength) ?? stored
        var position = range.lowerBound
        while position < range.upperBound {
            let runs = try await metadata.runs(at: GuestOffset(position), length: range.upperBound - position)
            for run in runs {
                switch run.kind {
                case .zero: break
                case .data(let host):
                    // Offsets of clusters end at 2^56.
                    let runEnd = host.bytes + run.length
                    let missing = max(host.bytes, stored)..<max(min(runEnd, end), max(host.bytes, stored))
                    if !missing.isEmpty {
                        let start = run.guest.bytes + (missing.lowerBound - host.bytes)
                        ends[ObjectIdentifier(self), default: FileEnd()].padding
                            .append(start..<start + UInt64(missing.count))
                    }
                    if runEnd > end { ends[ObjectIdentifier(self), default: FileEnd()].isCut = true }
                case .compressed(let descriptor):
                    if descriptor.offset.bytes >= file.length {
                        ends[ObjectIdentifier(self), default: FileEnd()].isCut = true
                    }
                case .unallocated:
                    guard let image = backing as? Qcow2Image, run.guest.bytes < image.length else { continue }
                    try await image.gatherPadding(run.guest.bytes..<min(run.end, image.length), into: &ends)
                }
            }
            position = runs[runs.count - 1].end
        }
    }
}
