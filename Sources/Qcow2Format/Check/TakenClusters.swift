// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// Where metadata lies beyond doubt, so that an entry that takes it for something else is wrong, and not the metadata.
///
/// Refcounts are not among it, since they can be made anew elsewhere, nor are bitmaps, which can be dropped: where they lie
/// on top of something else, they give way.
struct TakenClusters {
    /// The header and the active L1 table: what leads there leads to no L2 table.
    private let fixed: MetadataClusters
    /// What data of the active state, and data of snapshots, can't be.
    private let active: MetadataClusters
    private let inSnapshots: MetadataClusters
    /// L2 tables that share their clusters with something else, and of which every entry keeps the format. By offset.
    let soundTables: Set<UInt64>

    init(_ run: CheckRun) async throws(BlockError) {
        let bits = run.geometry.clusterBits
        var ranges = run.ranges.filter { $0.structure == .header || $0.structure == .l1Table }
        fixed = MetadataClusters(clusterBits: bits, ranges: ranges.map { ($0.offset, $0.length) })
        if run.log.count(of: .snapshot) == 0 {
            ranges += run.ranges.filter { $0.structure == .snapshotTable || $0.structure == .snapshotL1Table }
        }
        var sound: Set<UInt64> = []
        var tables: (active: [UInt64], inSnapshots: [UInt64]) = ([], [])
        for use in run.tables where use.isContested && use.offset.isAligned(to: run.clusterLength) {
            // An L1 table looks like an L2 table, and is none.
            guard !run.fixedClusters.contains(use.offset >> run.clusterBits), try await Self.isSound(use, of: run)
            else { continue }
            sound.insert(use.offset)
            if use.activeCount > 0 { tables.active.append(use.offset) }
            if use.count > use.activeCount { tables.inSnapshots.append(use.offset) }
        }
        func clusters(_ tables: [UInt64]) -> MetadataClusters {
            MetadataClusters(
                clusterBits: bits,
                ranges: ranges.map { ($0.offset, $0.length) } + tables.map { ($0, run.clusterLength) })
        }
        soundTables = sound
        active = clusters(tables.active)
        inSnapshots = clusters(tables.inSnapshots)
    }

    /// Whether there can't be an L2 table in a cluster.
    func isNoTable(_ offset: UInt64) -> Bool { fixed.firstOverlap(offset: offset, length: 1) != nil }

    /// Whether there can't be data that an L2 table leads to.
    func isNoData(offset: UInt64, length: UInt64, of use: TableUse) -> Bool {
        use.activeCount > 0 && active.firstOverlap(offset: offset, length: length) != nil
            || use.count > use.activeCount && inSnapshots.firstOverlap(offset: offset, length: length) != nil
    }

    /// Whether a table leads somewhere, and all its entries keep the format and lead into the file: data that is taken for
    /// a table hardly does. Zeroes may as well be data.
    private static func isSound(_ use: TableUse, of run: CheckRun) async throws(BlockError) -> Bool {
        let rules = L2EntryRules(run.layout)
        let words = run.geometry.l2EntryWords
        let table = try await run.reader.words(at: use.offset, count: Int(run.clusterLength / 8))
        let first = run.guestOffset(ofTable: use)
        var isEmpty = true
        for index in stride(from: 0, to: table.count, by: words) {
            let mapping = rules.mapping(
                of: L2Entry(rawValue: table[index]),
                SubclusterBitmap(rawValue: words == 2 ? table[index + 1] : 0),
                at: first &+ UInt64(index / words) << run.clusterBits)
            if mapping.isBroken { return false }
            if mapping.place != .none { isEmpty = false }
            switch mapping.place {
            case .none: break
            case .cluster(let host): if !run.layout.hasExternalDataFile, run.isPastEnd(host.bytes) { return false }
            case .compressed(let descriptor): if run.isPastEnd(descriptor.offset.bytes) { return false }
            }
        }
        return !isEmpty
    }
}
