// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// One walk over the structure of an image: first all tables that lead to others are gathered, then references are counted
/// and compared with the refcounts.
///
/// Memory does not grow with the disk beyond 40 bytes for each L2 table and the refcount table itself: references are
/// counted in windows of at most 32 million clusters, a byte for each and two bits beside it, one window after the other.
/// The first pass remembers which 64ths of the file a table leads to, so that later windows read only tables that matter to
/// them. An image of 512 GiB with clusters of 64 KiB is one window; one of 64 TiB has 32, and as long as its data lies
/// about in the order of the disk, each table is read twice at most.
///
/// Used by one task.
final class CheckRun {
    let reader: CheckReader
    let header: HeaderCluster
    let layout: ImageLayout
    let isSound: Bool
    private let hasL1Table: Bool
    private let hasRefcountTable: Bool
    /// Largest number of clusters in a window: smaller in tests.
    let maximumWindow: UInt64

    var log: ProblemLog
    /// Structures other than L2 tables and refcount blocks, all of them inside the file.
    var ranges: [StructureRange] = []
    /// Clusters that hold bits of bitmaps.
    var bitmapClusters = ClusterCounts()
    /// L2 tables by offset, all of them inside the file.
    var tables: [TableUse] = []
    /// All L1 tables that can be followed; the active one first.
    var l1Tables: [L1Location] = []
    /// L1 tables that share their clusters with something else.
    var contestedL1Tables: Set<UInt64> = []
    /// Whether active L1 entries lead behind the end of the file.
    var hasFarTables = false
    /// Metadata that everything else is found by, all of which who reads the disk keeps apart from data.
    private(set) var fixedClusters = MetadataClusters(clusterBits: 9)
    /// Clusters of metadata that entries take for data, or for another table, as far as they are known.
    var lies: Set<UInt64> = []
    /// Compressed clusters that the end of the file has cut off.
    var brokenStreams: Set<CompressedClusterDescriptor> = []
    /// End of what is in use of the external data file.
    var dataFileEnd: UInt64 = 0
    var refcountTable: [UInt64] = []
    /// Refcount blocks of the refcount table that break a rule, by index: their refcounts can't be read.
    var unknownBlocks: Set<Int> = []
    /// References that can't be followed, so that what seems to leak may be in use.
    var hasLostReferences = false
    /// Whether the file ends before an L1 table does.
    private(set) var isL1TableCut = false
    /// Whether the file ends inside an L2 table: what its missing entries led to seems to leak.
    var hasCutTables: Bool { tables.contains { $0.offset + clusterLength > reader.length } }
    /// Refcounts that can't be set where they are.
    var needsRebuild = false
    /// Entries of the snapshot table that lack what they need, or have too much.
    var hasMendableSnapshots = false
    /// Bitmaps that can't be followed.
    var hasBrokenBitmaps = false
    /// The lowest offset that an entry leads to and that lies past the end of the file.
    var lowestPastEnd = UInt64.max
    var allocated: UInt64 = 0
    var fragmented: UInt64 = 0
    var compressed: UInt64 = 0
    /// The last cluster with a refcount or a reference.
    var lastCluster: UInt64 = 0
    /// Clusters of the file, the last one may be cut short.
    var clusterCount: UInt64
    /// The last refcount block that a single refcount was looked up in.
    private var lookup: (index: UInt64, bytes: [UInt8])?

    var geometry: ClusterGeometry { layout.geometry }
    var clusterLength: UInt64 { layout.geometry.clusterLength }
    var clusterBits: UInt64 { UInt64(layout.geometry.clusterBits) }
    var refcountsPerBlock: UInt64 { UInt64(layout.refcounts.capacity(ofBytes: Int(clusterLength))) }

    /// - Parameter log: what was wrong with the header.
    init(
        _ header: CheckedHeader, of file: any Storage, log: ProblemLog,
        maximumWindow: UInt64 = ReferenceWindow.maximumCount
    ) {
        reader = CheckReader(file)
        self.header = header.header
        layout = header.layout
        isSound = header.isSound
        hasL1Table = header.hasL1Table
        hasRefcountTable = header.hasRefcountTable
        self.maximumWindow = maximumWindow
        self.log = log
        clusterCount = reader.length.dividedRoundingUp(by: header.layout.geometry.clusterLength)
    }

    /// Checks everything.
    func check() async throws(BlockError) {
        noteMarks()
        try await gather()
        try await compareAll()
    }

    /// Counts all references, and compares them with the refcounts.
    func compareAll() async throws(BlockError) {
        try await countReferences { (run: CheckRun, window: inout ReferenceWindow) async throws(BlockError) in
            run.noteContested(in: window)
            try await run.compare(&window)
        }
    }

    /// Finds all structures, and what is wrong with what leads to them.
    func gather() async throws(BlockError) {
        add(.header, offset: 0, length: clusterLength)
        if hasL1Table {
            let fields = header.header
            let location = L1Location(offset: fields.l1TableOffset, entryCount: UInt64(fields.l1Size))
            add(.l1Table, offset: location.offset, length: location.entryCount * 8)
            try await gatherTables(of: location, count: 1, isActive: true)
        } else {
            hasLostReferences = true
        }
        try await gatherSnapshots()
        tables.compact()
        try await gatherBitmaps()
        if hasRefcountTable {
            let fields = header.header
            // Capped when the header was read.
            let length = UInt64(fields.refcountTableClusters) * clusterLength
            add(.refcountTable, offset: fields.refcountTableOffset, length: length)
            refcountTable = try await reader.words(at: fields.refcountTableOffset, count: Int(length / 8))
            noteRefcountTable()
        }
        let fixed = ranges.filter { $0.structure != .bitmapDirectory && $0.structure != .bitmapTable }
        fixedClusters = MetadataClusters(
            clusterBits: geometry.clusterBits,
            ranges: fixed.map { ($0.offset, $0.length) }
                + refcountTable.indices.compactMap(countedBlock).map { ($0, clusterLength) })
    }

    private func noteMarks() {
        let features = header.header.incompatibleFeatures
        if features.contains(.dirty) {
            log.note(.marked, .warning, "image", "it is marked dirty: it was not closed, and refcounts may be stale")
        }
        if features.contains(.corrupt) {
            log.note(.marked, .warning, "image", "it is marked corrupt")
        }
    }

    /// Adds a structure whose clusters are in use.
    func add(_ structure: Qcow2Error.Structure, offset: UInt64, length: UInt64, count: UInt64 = 1) {
        guard length > 0 else { return }
        guard isThere(structure, offset: offset, length: length) else {
            log.note(
                .tablePastEnd, structure.rawValue, at: offset, count: count,
                "it reaches past the end of the file (\(reader.length) bytes)")
            lowestPastEnd = min(lowestPastEnd, offset)
            switch structure {
            case .bitmapDirectory, .bitmapTable, .bitmapCluster: hasBrokenBitmaps = true
            case .refcountTable: needsRebuild = true
            case .l1Table, .snapshotL1Table: (isL1TableCut, hasLostReferences) = (true, true)
            default: hasLostReferences = true
            }
            return
        }
        ranges.append(StructureRange(structure: structure, offset: offset, length: length, count: count))
    }

    /// Whether a structure is in the file. Of its last cluster a part may be missing, but not of an L1 table: that would
    /// make a disk of zeroes.
    private func isThere(_ structure: Qcow2Error.Structure, offset: UInt64, length: UInt64) -> Bool {
        switch structure {
        case .l1Table, .snapshotL1Table: return offset.adding(length).map { $0 <= reader.length } ?? false
        default:
            return !ImageLayout.isPastEnd(
                offset: offset, length: length, fileLength: reader.length, clusterLength: clusterLength)
        }
    }

    // MARK: L1 tables

    /// Bytes of a table that are read together.
    private static let pieceLength = 1 << 20

    /// Finds the L2 tables of an L1 table.
    ///
    /// - Parameter count: how many snapshots have this L1 table.
    func gatherTables(of location: L1Location, count: UInt64, isActive: Bool) async throws(BlockError) {
        l1Tables.append(location)
        var limit = max(tables.count * 2, Self.keptTables)
        try await forEachEntry(of: location) { (entry, index) async throws(BlockError) in
            note(entry, index: index, count: count, isActive: isActive)
            // Many entries may lead to the same tables, of which there are no more than the file has room for.
            if tables.count > limit {
                tables.compact()
                limit = max(tables.count * 2, Self.keptTables)
            }
        }
    }

    /// Tables that are kept before it is looked which are the same.
    private static let keptTables = 1 << 17

    /// Calls `body` with all entries of an L1 table that are not 0.
    func forEachEntry(
        of location: L1Location, _ body: (L1Entry, Int) async throws(BlockError) -> Void
    ) async throws(BlockError) {
        var index: UInt64 = 0
        while index < location.entryCount {
            let offset = location.offset + index * 8
            // Zeroes from here on.
            guard offset < reader.length else { break }
            let words = min(location.entryCount - index, UInt64(Self.pieceLength / 8))
            for (place, raw) in try await reader.words(at: offset, count: Int(words)).enumerated() where raw != 0 {
                try await body(L1Entry(rawValue: raw), Int(index) + place)
            }
            index += words
        }
    }

    /// Whether a table or a cluster at an offset lies behind the end of the file.
    func isPastEnd(_ offset: UInt64) -> Bool {
        ImageLayout.isPastEnd(
            offset: offset, length: clusterLength, fileLength: reader.length, clusterLength: clusterLength)
    }

    private func note(_ entry: L1Entry, index: Int, count: UInt64, isActive: Bool) {
        let guest = UInt64(index) << UInt64(geometry.l2CoverageBits)
        if entry.hasReservedBits {
            log.note(
                .l1ReservedBits, "L1 entry", guest: guest, count: count,
                "it has reserved bits set (\(hex(entry.rawValue)))")
        }
        let offset = entry.l2TableOffset?.bytes ?? 0
        if !offset.isAligned(to: clusterLength) {
            log.note(
                .l2TableUnaligned, Qcow2Error.Structure.l2Table.rawValue, at: offset, guest: guest, count: count,
                "it is not aligned to a cluster")
        }
        if isPastEnd(offset) {
            lowestPastEnd = min(lowestPastEnd, offset)
            log.note(
                .tablePastEnd, Qcow2Error.Structure.l2Table.rawValue, at: offset, guest: guest, count: count,
                "it reaches past the end of the file (\(reader.length) bytes)")
            if isActive { hasFarTables = true }
            return
        }
        tables.append(
            TableUse(
                offset: offset, l1Index: UInt32(index), activeCopied: isActive && entry.isCopied ? 1 : 0,
                activePlain: isActive && !entry.isCopied ? 1 : 0, count: count))
    }

    /// The disk's first byte that an L2 table maps.
    func guestOffset(ofTable use: TableUse) -> UInt64 {
        // An L1 table has at most 2^22 entries, of 2^39 bytes.
        UInt64(use.l1Index) << UInt64(geometry.l2CoverageBits)
    }

    // MARK: Single refcounts

    /// Where a refcount block is; `nil` where all of its refcounts are 0, or can't be read.
    func blockOffset(_ index: UInt64) -> UInt64? {
        guard index < UInt64(refcountTable.count), !unknownBlocks.contains(Int(index)) else { return nil }
        let offset = refcountTable[Int(index)] & ~511
        return offset == 0 || offset >= reader.length ? nil : offset
    }

    /// The refcount of a cluster that may lie outside all windows; `nil` where it can't be read.
    func refcount(of cluster: UInt64) async throws(BlockError) -> UInt64? {
        let index = cluster / refcountsPerBlock
        if index < UInt64(refcountTable.count), unknownBlocks.contains(Int(index)) { return nil }
        guard let offset = blockOffset(index) else { return 0 }
        if lookup?.index != index {
            lookup = (index, try await reader.bytes(at: offset, count: Int(clusterLength)))
        }
        guard let bytes = lookup?.bytes else { return 0 }
        return layout.refcounts.value(in: bytes, at: Int(cluster % refcountsPerBlock))
    }
}
