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

    private func gatheredRun() async throws(BlockError) -> CheckRun {
        var log = ProblemLog()
        guard let header = try await CheckedHeader.read(file, log: &log) else {
            // It was sound before: someone else writes.
            throw .layer(Qcow2Error(image: file.name, .notQcow2))
        }
        let run = CheckRun(header, of: file, log: log, maximumWindow: check.maximumWindow)
        try await run.gather()
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

    /// Writes new refcount structures behind everything else, and makes the header lead to them.
    ///
    /// - Returns: whether that could be done.
    func rebuild(_ run: CheckRun) async throws(BlockError) -> Bool {
        let codec = run.layout.refcounts
        let bits = run.clusterBits
        let first = run.clusterCount
        var tableClusters: UInt64 = 1
        var blocks: UInt64 = 1
        // Each round may need a little more for what the one before added.
        while true {
            let end = first + tableClusters + blocks
            let neededBlocks = end.dividedRoundingUp(by: run.refcountsPerBlock)
            let neededTable = (neededBlocks * 8).dividedRoundingUp(by: run.clusterLength)
            if neededBlocks <= blocks, neededTable <= tableClusters { break }
            (blocks, tableClusters) = (max(blocks, neededBlocks), max(tableClusters, neededTable))
        }
        guard tableClusters << bits <= Qcow2Limits.refcountTableLength else {
            announce("the refcount structures can't be rebuilt: the table would be too large")
            return false
        }
        let clusters = first..<first + tableClusters + blocks
        // They would be taken for what such an entry stands for.
        guard run.lowestPastEnd >= clusters.upperBound << bits else {
            announce("the refcount structures can't be rebuilt: broken entries lead to where they would be")
            return false
        }
        let firstBlock = first + tableClusters
        try await file.resize(to: clusters.upperBound << bits)
        let counter = try await gatheredRun()
        try await counter.countReferences(.new(clusters)) {
            (run: CheckRun, window: inout ReferenceWindow) async throws(BlockError) in
            var next = window.first
            let end = min(window.clusters.upperBound, clusters.upperBound)
            while next < end {
                let index = next / run.refcountsPerBlock
                let part = next..<min((index + 1) * run.refcountsPerBlock, end)
                next = part.upperBound
                var bytes = [UInt8](repeating: 0, count: (part.count * codec.bits + 7) / 8)
                for cluster in 0..<part.count {
                    let references = window[Int(part.lowerBound - window.first) + cluster]
                    if references > 0 { codec.store(min(references, codec.maximum), in: &bytes, at: cluster) }
                }
                // The file has grown by zeroes.
                if bytes.span.bytes.isZero { continue }
                let inside = part.lowerBound % run.refcountsPerBlock * UInt64(codec.bits) / 8
                try await self.file.write(at: (firstBlock + index) << bits + inside, from: bytes.span.bytes)
            }
        }
        var table: [UInt8] = []
        for index in 0..<blocks { table.appendBigEndian((firstBlock + index) << bits) }
        try await file.write(at: first << bits, from: table.span.bytes)
        try await file.flush()
        try await changeHeader { sector in
            sector.storeBigEndian(first << bits, at: 48)  // refcount_table_offset
            sector.storeBigEndian(UInt32(tableClusters), at: 56)  // refcount_table_clusters
        }
        return true
    }
}
