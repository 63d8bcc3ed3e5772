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
        try await forEachRun(in: range) { (image, run) throws(BlockError) in
            switch run.kind {
            case .data(let host): try image.checkStored(host, run: run, fileLength: image.storage.length)
            case .compressed(let descriptor): try image.checkStored(descriptor, run: run)
            case .zero, .unallocated: break
            }
        }
    }

    /// Calls `body` with each run of a range and the image that it is in: this one or, where it leaves the range to them, one
    /// of its backing files.
    private func forEachRun(
        in range: Range<UInt64>, _ body: (Qcow2Image, ClusterRun) throws(BlockError) -> Void
    ) async throws(BlockError) {
        try checkRange(at: range.lowerBound, length: range.upperBound - range.lowerBound)
        var position = range.lowerBound
        while position < range.upperBound {
            let runs = try await metadata.runs(at: GuestOffset(position), length: range.upperBound - position)
            for run in runs {
                try body(self, run)
                guard case .unallocated = run.kind, let image = backing as? Qcow2Image, run.guest.bytes < image.length
                else { continue }
                try await image.forEachRun(in: run.guest.bytes..<min(run.end, image.length), body)
            }
            position = runs[runs.count - 1].end
        }
    }

    /// What the user should know before relying on the disk; `nil` for nothing.
    ///
    /// Entries of an L2 table in the file's last cluster that aren't there are taken for unallocated, as QEMU does.
    package var warning: String? {
        let (fileLength, clusterLength) = (file.length, geometry.clusterLength)
        let cut = metadata.state.withLock { $0.l1 }.lazy.compactMap { L1Entry(rawValue: $0).l2TableOffset?.bytes }
            .first { $0 < fileLength && fileLength - $0 < clusterLength }
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
        try await forEachRun(in: 0..<length) { (image, run) throws(BlockError) in
            guard let (isCut, padding) = image.end(of: run) else { return }
            ends[ObjectIdentifier(image), default: FileEnd()].note(isCut, padding)
        }
        return ends.values.filter(\.isCut).flatMap(\.padding).sorted { $0.lowerBound < $1.lowerBound }
    }

    /// What a disk shows of the end of a file.
    private struct FileEnd {
        /// Any number of entries may lead to the file's last cluster: behind so many, all is one range.
        private static let mostRanges = 4096

        /// Whether whole clusters are missing.
        var isCut = false
        var padding: [Range<UInt64>] = []

        mutating func note(_ isCut: Bool, _ range: Range<UInt64>) {
            self.isCut = self.isCut || isCut
            guard !range.isEmpty else { return }
            if padding.count < Self.mostRanges {
                padding.append(range)
            } else {
                // Runs come in the order of the disk.
                padding[padding.count - 1] = padding[padding.count - 1].lowerBound..<range.upperBound
            }
        }
    }

    /// Whether a run reaches behind the last cluster of its file, and which guest bytes of it that cluster lacks.
    private func end(of run: ClusterRun) -> (isCut: Bool, padding: Range<UInt64>)? {
        switch run.kind {
        case .zero, .unallocated: return nil
        case .compressed(let descriptor):
            return (descriptor.offset.bytes >= file.length, run.guest.bytes..<run.guest.bytes)
        case .data(let host):
            let stored = storage.length
            let end = stored.alignedUp(to: geometry.clusterLength) ?? stored
            guard let runEnd = host.bytes.adding(run.length) else { return (true, run.guest.bytes..<run.guest.bytes) }
            let first = max(host.bytes, stored)
            let missing = first..<max(min(runEnd, end), first)
            guard !missing.isEmpty else { return (runEnd > end, run.guest.bytes..<run.guest.bytes) }
            // Inside the run.
            let start = run.guest.bytes + (missing.lowerBound - host.bytes)
            return (runEnd > end, start..<start + UInt64(missing.count))
        }
    }
}
