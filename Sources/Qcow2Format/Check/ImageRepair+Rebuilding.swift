// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import SystemPackage

extension ImageRepair {
    /// Writes new refcount structures to clusters that nothing uses, and makes the header lead to them.
    ///
    /// - Returns: whether that could be done.
    /// - Throws: `BlockError.system` where there is no room for them.
    func rebuild(_ run: CheckRun) async throws(BlockError) -> Bool {
        let codec = run.layout.refcounts
        let bits = run.clusterBits
        let covered = run.clusterCount
        var tableClusters: UInt64 = 1
        var blocks: UInt64 = 1
        // Each round may need a little more for what the one before added.
        while true {
            let end = covered + tableClusters + blocks
            let neededBlocks = end.dividedRoundingUp(by: run.refcountsPerBlock)
            let neededTable = (neededBlocks * 8).dividedRoundingUp(by: run.clusterLength)
            if neededBlocks <= blocks, neededTable <= tableClusters { break }
            (blocks, tableClusters) = (max(blocks, neededBlocks), max(tableClusters, neededTable))
        }
        guard tableClusters << bits <= Qcow2Limits.refcountTableLength else {
            announce("the refcount structures can't be rebuilt: the table would be too large")
            return false
        }
        // Where they would be appended, they would be taken for what such an entry stands for.
        guard run.lowestPastEnd >= (covered + tableClusters + blocks) << bits else {
            announce("the refcount structures can't be rebuilt: broken entries lead to where they would be")
            return false
        }
        let first = try await reserve(tableClusters + blocks, run)
        let clusters = first..<first + tableClusters + blocks
        let end = max(covered, clusters.upperBound)
        let firstBlock = first + tableClusters
        let counter = try await gatheredRun()
        try await counter.countReferences(.new(clusters)) {
            (run: CheckRun, window: inout ReferenceWindow) async throws(BlockError) in
            var next = window.first
            let end = min(window.clusters.upperBound, end)
            while next < end {
                let index = next / run.refcountsPerBlock
                let part = next..<min((index + 1) * run.refcountsPerBlock, end)
                next = part.upperBound
                var bytes = [UInt8](repeating: 0, count: (part.count * codec.bits + 7) / 8)
                for cluster in 0..<part.count {
                    let references = window[Int(part.lowerBound - window.first) + cluster]
                    if references > 0 { codec.store(min(references, codec.maximum), in: &bytes, at: cluster) }
                }
                // The place holds zeroes.
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

    /// Finds clusters for a new structure, and fills them with zeroes: behind the end of the file, or inside it where it
    /// can't grow.
    ///
    /// - Returns: the first of `count` clusters that follow each other.
    /// - Throws: `BlockError.system` where there are none.
    func reserve(_ count: UInt64, _ run: CheckRun) async throws(BlockError) -> UInt64 {
        let bits = run.clusterBits
        let first = file.length.dividedRoundingUp(by: run.clusterLength)
        do {
            try await file.resize(to: (first + count) << bits)
            return first
        } catch {
            guard Self.isFull(error) else { throw error }
        }
        guard let first = try await unusedClusters(count) else {
            throw .system(
                SystemCallError(call: "allocate", errno: .noSpace, path: file.name, offset: file.length))
        }
        let zeroes = [UInt8](repeating: 0, count: Int(run.clusterLength))
        for cluster in first..<first + count { try await file.write(at: cluster << bits, from: zeroes.span.bytes) }
        try await file.flush()
        return first
    }

    private static func isFull(_ error: BlockError) -> Bool {
        if case .unsupported = error { return true }
        return [.noSpace, .fileTooLarge].contains(error.errno)
    }

    /// The first clusters inside the file that nothing refers to; `nil` where there are none.
    private func unusedClusters(_ count: UInt64) async throws(BlockError) -> UInt64? {
        let run = try await gatheredRun()
        // Only clusters that are there as a whole.
        let end = file.length >> run.clusterBits
        var start: UInt64 = 0
        var found: UInt64?
        try await run.countReferences { (_: CheckRun, window: inout ReferenceWindow) async throws(BlockError) in
            guard found == nil else { return }
            for index in 0..<window.count {
                let cluster = window.first + UInt64(index)
                if cluster >= end { return }
                if window[index] != 0 {
                    start = cluster + 1
                } else if cluster + 1 - start >= count {
                    found = start
                    return
                }
            }
        }
        return found
    }
}
