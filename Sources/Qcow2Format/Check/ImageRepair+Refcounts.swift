// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

extension ImageRepair {
    enum Direction {
        case raise, lower
    }

    /// Sets refcounts that are too low, or too high, to the number of references, where they are.
    func setRefcounts(_ direction: Direction) async throws(BlockError) {
        let run = try await gatheredRun()
        let codec = run.layout.refcounts
        try await run.countReferences { (run: CheckRun, window: inout ReferenceWindow) async throws(BlockError) in
            let end = min(window.clusters.upperBound, run.clusterCount)
            var next = window.first
            while next < end {
                let index = next / run.refcountsPerBlock
                let part = next..<min((index + 1) * run.refcountsPerBlock, end)
                next = part.upperBound
                guard let block = run.blockOffset(index), block >= run.clusterLength else { continue }
                let inside = part.lowerBound % run.refcountsPerBlock * UInt64(codec.bits) / 8
                let count = (part.count * codec.bits + 7) / 8
                let old = try await run.reader.bytes(at: block + inside, count: count)
                var new = old
                for cluster in 0..<part.count {
                    let stored = codec.value(in: old, at: cluster)
                    let references = window[Int(part.lowerBound - window.first) + cluster]
                    let isWrong =
                        switch direction {
                        case .raise: stored < references
                        case .lower: stored > references
                        }
                    if isWrong { codec.store(min(references, codec.maximum), in: &new, at: cluster) }
                }
                try await self.writeChanges(from: old, to: new, at: block + inside)
            }
        }
        try await file.flush()
    }

    /// A run that knows of what is going to be, too.
    func gatheredRun() async throws(BlockError) -> CheckRun {
        var log = ProblemLog()
        guard let header = try await CheckedHeader.read(file, log: &log) else {
            // It was sound before: someone else writes.
            throw .layer(Qcow2Error(image: file.name, .notQcow2))
        }
        let run = CheckRun(header, of: file, log: log, maximumWindow: check.maximumWindow)
        try await run.gather()
        for range in pending { run.add(range.structure, offset: range.offset, length: range.length) }
        return run
    }

    /// Writes the sectors that differ.
    private func writeChanges(from old: [UInt8], to new: [UInt8], at offset: UInt64) async throws(BlockError) {
        let length = HeaderSectors.sectorLength
        for start in stride(from: 0, to: old.count, by: length) {
            let range = start..<min(start + length, old.count)
            guard old[range] != new[range] else { continue }
            try await file.write(at: offset + UInt64(start), from: new.span.bytes.extracting(range))
        }
    }
}
