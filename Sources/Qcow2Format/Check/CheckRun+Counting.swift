// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// Counting references, window after window.
extension CheckRun {
    typealias WindowBody = (CheckRun, inout ReferenceWindow) async throws(BlockError) -> Void

    /// Bytes of tables that are read together: at least the largest cluster.
    static let bufferLength = 2 << 20

    /// Where refcount structures are.
    enum RefcountPlace {
        /// Where the image has them.
        case current
        /// Clusters that new ones are to fill.
        case new(Range<UInt64>)
    }

    /// Counts the references to all clusters.
    ///
    /// - Parameters:
    ///   - place: which refcount structures count.
    ///   - body: called with each window when everything in it is counted.
    func countReferences(_ place: RefcountPlace = .current, _ body: WindowBody) async throws(BlockError) {
        // A compressed cluster may end in the cluster behind the last one.
        var limit = clusterCount + 1
        if case .new(let clusters) = place { limit = max(limit, clusters.upperBound) }
        var length = min(maximumWindow, limit.alignedUp(to: 64) ?? limit)
        var window = ReferenceWindow(capacity: Int(length))
        var buffer = AlignedBuffer(count: Self.bufferLength)
        var scanner = L2Scanner(
            layout: layout, fileLength: reader.length, limit: limit, unknownBlocks: unknownBlocks, log: log)
        scanner.endCluster = clusterCount
        var start: UInt64 = 0
        var hasCountedOnce = false
        while start < limit {
            let before = (scanner, hasLostReferences)
            window.reset(to: start..<min(start + length, limit))
            try await readOnes(into: &window, &buffer)
            mark(place, in: &window, &scanner)
            try await scanTables(&scanner, in: &window, &buffer, isFirstPass: !hasCountedOnce)
            if window.isOverfull {
                // Clusters with very many references: fewer of them at a time.
                (scanner, hasLostReferences) = before
                length = max(length / 128 * 64, ReferenceWindow.minimumCount)
                continue
            }
            log = scanner.log
            if !hasCountedOnce {
                lowestPastEnd = min(lowestPastEnd, scanner.lowestPastEnd)
                (allocated, fragmented, compressed) = (scanner.allocated, scanner.fragmented, scanner.compressed)
                dataFileEnd = scanner.dataFileEnd
                try await settleStrays(scanner.strays)
                try await settleFarTables()
                try await settleCutStreams(scanner)
                hasCountedOnce = true
            }
            clusterCount = max(clusterCount, scanner.endCluster)
            if case .current = place { countBlocks(in: &window) }
            try await body(self, &window)
            scanner.log = log
            scanner.strays = []
            start += UInt64(window.count)
        }
    }

    /// Marks and counts all structures but L2 tables; refcount blocks are counted later.
    private func mark(_ place: RefcountPlace, in window: inout ReferenceWindow, _ scanner: inout L2Scanner) {
        bitmapClusters.forEach { cluster, count in
            scanner.endCluster = max(scanner.endCluster, cluster + 1)
            for position in window.indices(of: cluster..<cluster + 1) {
                noteOverlap(window.markMetadata(position), .bitmapCluster, at: cluster << clusterBits, &scanner.log)
                window.add(count, at: position)
            }
        }
        for range in ranges {
            if case .new = place, range.structure == .refcountTable { continue }
            let clusters = range.offset >> clusterBits..<(range.offset + range.length - 1) >> clusterBits + 1
            scanner.endCluster = max(scanner.endCluster, clusters.upperBound)
            for position in window.indices(of: clusters) {
                noteOverlap(window.markMetadata(position), range.structure, at: range.offset, &scanner.log)
                window.add(range.count, at: position)
            }
        }
        switch place {
        case .current:
            for index in refcountTable.indices {
                guard let offset = countedBlock(index) else { continue }
                let cluster = offset >> clusterBits
                for position in window.indices(of: cluster..<cluster + 1) {
                    noteOverlap(window.markMetadata(position), .refcountBlock, at: offset, &scanner.log)
                }
            }
        case .new(let clusters):
            for position in window.indices(of: clusters) { window.add(1, at: position) }
        }
        for use in tables {
            let clusters = use.offset >> clusterBits..<(use.offset + clusterLength - 1) >> clusterBits + 1
            scanner.endCluster = max(scanner.endCluster, clusters.upperBound)
            for position in window.indices(of: clusters) {
                let isTaken = window.markMetadata(position)
                noteOverlap(isTaken, .l2Table, at: use.offset, &scanner.log)
                if isTaken, fixedClusters.contains(window.first + UInt64(position)) {
                    lies.insert(window.first + UInt64(position))
                }
                window.add(use.count, at: position)
            }
        }
    }

    private func noteOverlap(
        _ isTaken: Bool, _ structure: Qcow2Error.Structure, at offset: UInt64, _ log: inout ProblemLog
    ) {
        guard isTaken else { return }
        log.note(.overlap, .warning, structure.rawValue, at: offset, "it lies on top of other metadata")
    }

    /// Calls `body` with windows that know which refcounts are 1, and no references.
    func forEachWindow(_ body: WindowBody) async throws(BlockError) {
        let length = min(maximumWindow, clusterCount.alignedUp(to: 64) ?? clusterCount)
        var window = ReferenceWindow(capacity: Int(length))
        var buffer = AlignedBuffer(count: Self.bufferLength)
        for start in stride(from: 0, to: clusterCount, by: Int(max(length, 64))) {
            window.reset(to: start..<min(start + length, clusterCount))
            try await readOnes(into: &window, &buffer)
            try await body(self, &window)
        }
    }

    /// The L2 table at an offset.
    func table(at offset: UInt64) -> TableUse? {
        var (low, high) = (0, tables.count)
        while low < high {
            let middle = (low + high) / 2
            if tables[middle].offset < offset { low = middle + 1 } else { high = middle }
        }
        return low < tables.count && tables[low].offset == offset ? tables[low] : nil
    }

    /// Notes which L1 and L2 tables are not the only use of their clusters.
    func noteContested(in window: ReferenceWindow) {
        for range in ranges {
            let clusters = range.offset >> clusterBits..<(range.offset + range.length - 1) >> clusterBits + 1
            if range.structure == .refcountTable, window.indices(of: clusters).contains(where: { window[$0] != 1 }) {
                // It can't be changed where it is, and is the one that can be made anew.
                needsRebuild = true
            }
            guard range.structure == .l1Table || range.structure == .snapshotL1Table else { continue }
            // L1 entries that lead to an L1 table are wrong, and with them what they make of it.
            let isContested = window.indices(of: clusters).contains { position in
                window[position] != range.count && table(at: (window.first + UInt64(position)) << clusterBits) == nil
            }
            if isContested { contestedL1Tables.insert(range.offset) }
        }
        for index in tables.indices {
            let cluster = tables[index].offset >> clusterBits
            guard window.clusters.contains(cluster) else { continue }
            tables[index].isContested = window[Int(cluster - window.first)] != tables[index].count
        }
    }

    // MARK: L2 tables

    private func scanTables(
        _ scanner: inout L2Scanner, in window: inout ReferenceWindow, _ buffer: inout AlignedBuffer, isFirstPass: Bool
    ) async throws(BlockError) {
        let wanted = scanner.segments(of: window.clusters)
        let length = Int(clusterLength)
        var index = 0
        while index < tables.count {
            noteCopied(tables[index], in: window, &scanner)
            guard isFirstPass || tables[index].segments & wanted != 0 else {
                index += 1
                continue
            }
            let first = index
            let offset = tables[first].offset
            index += 1
            // Tables that follow each other are read together.
            while index < tables.count, (index - first + 1) * length <= Self.bufferLength,
                tables[index].offset == offset + UInt64((index - first) * length)
            {
                noteCopied(tables[index], in: window, &scanner)
                index += 1
            }
            guard offset < reader.length else {
                for table in first..<index { tables[table].segments = 0 }
                continue
            }
            guard try await read(offset, (index - first) * length, .l2Table, into: &buffer, &scanner.log) else {
                for table in first..<index { tables[table].segments = 0 }
                continue
            }
            for table in first..<index {
                let bytes = buffer.bytes.extracting((table - first) * length..<(table - first + 1) * length)
                scanner.scan(bytes, of: &tables[table], in: &window, isFirstPass: isFirstPass)
            }
            if isFirstPass, !scanner.strays.isEmpty {
                log = scanner.log
                try await settleStrays(scanner.strays)
                scanner.log = log
                scanner.strays = []
            }
        }
        for overlap in scanner.overlaps where isLie(overlap) { lies.insert(overlap.cluster) }
        scanner.overlaps = []
    }

    /// Compares the copied flags of the L1 entries that lead to a table with its refcount.
    private func noteCopied(
        _ use: TableUse, in window: ReferenceWindow, _ scanner: inout L2Scanner
    ) {
        guard use.checksCopied else { return }
        let cluster = use.offset >> clusterBits
        let guest = UInt64(use.l1Index) << UInt64(geometry.l2CoverageBits)
        guard window.clusters.contains(cluster) else { return }
        let isOne = window.isOne(Int(cluster - window.first))
        noteCopied(
            .l2Table, at: use.offset, guest: guest, isOne: isOne,
            count: UInt64(isOne ? use.activePlain : use.activeCopied), &scanner.log)
    }

    func noteCopied(
        _ structure: Qcow2Error.Structure, at offset: UInt64, guest: UInt64, isOne: Bool, count: UInt64,
        _ log: inout ProblemLog
    ) {
        let block = Int(truncatingIfNeeded: (offset >> clusterBits) / refcountsPerBlock)
        guard !unknownBlocks.contains(block) else { return }
        log.note(
            .copiedFlag, structure.rawValue, at: offset, guest: guest, count: count,
            isOne
                ? "its refcount is 1 and its entry has no copied flag"
                : "its entry has the copied flag and its refcount is not 1")
    }

    /// Whether who reads the disk, or a snapshot, refuses to follow the entry: it takes for data what is metadata of its own.
    private func isLie(_ overlap: L2Scanner.Overlap) -> Bool {
        if fixedClusters.contains(overlap.cluster) { return true }
        guard let table = table(at: overlap.cluster << clusterBits) else { return false }
        return overlap.isActive && table.activeCount > 0 || overlap.isInSnapshot && table.count > table.activeCount
    }

    /// Reads a part of the file into the buffer.
    ///
    /// - Returns: whether that went well; what failed is noted.
    func read(
        _ offset: UInt64, _ count: Int, _ structure: Qcow2Error.Structure, into buffer: inout AlignedBuffer,
        _ log: inout ProblemLog
    ) async throws(BlockError) -> Bool {
        do throws(BlockError) {
            var bytes = buffer.mutablePrefix(count)
            try await reader.read(at: offset, into: &bytes)
            return true
        } catch {
            if case .cancelled = error { throw error }
            hasLostReferences = true
            log.note(.unreadable, .unchecked, structure.rawValue, at: offset, "\(error)")
            return false
        }
    }
}
