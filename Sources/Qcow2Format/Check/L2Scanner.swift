// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// Counts the references of L2 tables, and finds what is wrong with their entries.
///
/// Tables are scanned once for each window of the file that they lead to. What is wrong with an entry itself is noted in
/// the first pass; what depends on a cluster's refcount, in that of the cluster.
struct L2Scanner {
    /// An entry that leads past the end of the file, whose copied flag is still to be compared with a refcount.
    struct Stray {
        let structure: Qcow2Error.Structure
        let offset: UInt64
        let guest: UInt64
        let isCopied: Bool
        let count: UInt64
    }

    /// Data in a cluster of metadata.
    struct Overlap {
        let cluster: UInt64
        /// Whether entries of the active L1 table, or of snapshots', lead to the L2 table with the data's entry.
        let isActive: Bool
        let isInSnapshot: Bool
    }

    /// Entries that lead to a compressed cluster of which the end of the file cuts off a part, by what they say.
    struct CutStream {
        /// Offset on the disk of one of them.
        let guest: UInt64
        /// How many.
        var count: UInt64
    }

    /// More than writers leave behind the last whole cluster of a file.
    private static let maximumCutStreams = 4096

    /// Overlaps that are kept until they are settled: one is enough to know that something is wrong.
    private static let maximumOverlaps = 64 << 10

    let layout: ImageLayout
    let rules: L2EntryRules
    let fileLength: UInt64
    /// First cluster that no window covers.
    let limit: UInt64
    /// Clusters divide into 64 segments by this shift.
    let segmentShift: UInt64
    /// Refcount blocks whose refcounts can't be read, by index.
    let unknownBlocks: Set<Int>
    let refcountsPerBlock: UInt64
    var log: ProblemLog
    var allocated: UInt64 = 0
    var fragmented: UInt64 = 0
    var compressed: UInt64 = 0
    var strays: [Stray] = []
    var overlaps: [Overlap] = []
    var cutStreams: [CompressedClusterDescriptor: CutStream] = [:]
    /// Entries that there was no room for in `cutStreams`.
    var unknownCutStreams: UInt64 = 0
    /// End of what is in use of an external data file.
    var dataFileEnd: UInt64 = 0
    /// The lowest offset of what lies past the end of the file.
    var lowestPastEnd = UInt64.max
    /// First cluster behind all that are referred to.
    var endCluster: UInt64 = 0

    init(layout: ImageLayout, fileLength: UInt64, limit: UInt64, unknownBlocks: Set<Int>, log: ProblemLog) {
        self.layout = layout
        rules = L2EntryRules(layout)
        self.fileLength = fileLength
        self.limit = limit
        segmentShift = UInt64(max(64 - limit.leadingZeroBitCount - 6, 0))
        self.unknownBlocks = unknownBlocks
        refcountsPerBlock = UInt64(layout.refcounts.capacity(ofBytes: Int(layout.geometry.clusterLength)))
        self.log = log
    }

    /// Segments that a range of clusters touches.
    func segments(of clusters: Range<UInt64>) -> UInt64 {
        guard let last = clusters.last else { return 0 }
        let low = min(clusters.lowerBound >> segmentShift, 63)
        let high = min(last >> segmentShift, 63)
        return (UInt64.max >> (63 - (high - low))) << low
    }

    /// Scans a table.
    ///
    /// - Parameter bytes: a cluster of entries.
    mutating func scan(_ bytes: RawSpan, of use: inout TableUse, in window: inout ReferenceWindow, isFirstPass: Bool) {
        let geometry = layout.geometry
        let bits = UInt64(geometry.clusterBits)
        let clusterLength = geometry.clusterLength
        let stride = geometry.l2EntryWords * 8
        let hasSubclusters = geometry.hasSubclusters
        // What is set in no entry of an aligned, plain, allocated cluster.
        let unusual = ~(L2Entry.copiedFlag | L2Entry.offsetMask & ~(clusterLength - 1))
        let isFast = !hasSubclusters && !layout.hasExternalDataFile && use.count == 1
        let activeCount = use.activeCount
        let isActive = activeCount > 0
        let checksCopied = use.checksCopied
        let windowFirst = window.first
        let windowCount = UInt64(window.count)
        var segments: UInt64 = 0
        var next: UInt64 = 0
        var index = 0
        for place in Swift.stride(from: 0, to: bytes.byteCount &- stride &+ 1, by: stride) {
            defer { index &+= 1 }
            let raw = UInt64(bigEndian: bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: place, as: UInt64.self))
            if isFast {
                if raw == 0 { continue }
                let offset = raw & L2Entry.offsetMask
                let cluster = offset >> bits
                if raw & unusual == 0, offset != 0, cluster < limit &- 1 {
                    if isFirstPass {
                        segments |= 1 << (cluster >> segmentShift)
                        if isActive {
                            allocated &+= 1
                            if next != 0, offset != next { fragmented &+= 1 }
                            next = offset &+ clusterLength
                        }
                    }
                    let relative = cluster &- windowFirst
                    guard relative < windowCount else { continue }
                    let position = Int(truncatingIfNeeded: relative)
                    let old = window.counts[position]
                    let isOne = window.isOne(position)
                    if old == 0 {
                        window.counts[position] = 1
                    } else {
                        count(offset, clusterLength, of: use, entry: index, .dataCluster, in: &window, isFirstPass)
                    }
                    if checksCopied, isOne != (raw & L2Entry.copiedFlag != 0) {
                        noteCopied(raw, isOne: isOne, use, index)
                    }
                    continue
                }
            }
            var bitmap: UInt64 = 0
            if hasSubclusters {
                bitmap = UInt64(
                    bigEndian: bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: place &+ 8, as: UInt64.self))
            }
            if raw == 0, bitmap == 0 { continue }
            segments |= examine(
                L2Entry(rawValue: raw), SubclusterBitmap(rawValue: bitmap), use, index, &next, in: &window, isFirstPass)
        }
        if isFirstPass { use.segments = segments }
    }

    /// - Returns: segments that the entry leads to.
    private mutating func examine(
        _ entry: L2Entry, _ bitmap: SubclusterBitmap, _ use: TableUse, _ index: Int, _ next: inout UInt64,
        in window: inout ReferenceWindow, _ isFirstPass: Bool
    ) -> UInt64 {
        let bits = UInt64(layout.geometry.clusterBits)
        let guest = guest(use, index)
        let mapping = rules.mapping(of: entry, bitmap, at: guest)
        if isFirstPass { noteDefects(of: mapping, entry, bitmap, use, guest) }
        let offset: UInt64
        switch mapping.place {
        case .none: return 0
        case .cluster(let host): offset = host.bytes
        case .compressed(let descriptor):
            // What readers follow counts, whatever else is wrong: else a repair would give it back.
            if mapping.defects.contains(.compressedInDataFile) { return 0 }
            if isFirstPass {
                allocated &+= use.activeCount
                compressed &+= use.activeCount
                // They are packed at any byte: nothing follows anything.
                fragmented &+= use.activeCount
            }
            // They begin at any byte: of one that begins behind the end there is nothing.
            guard let rest = descriptor.clipped(toFileLength: fileLength) else {
                if isFirstPass { notePastEnd(.compressedCluster, descriptor.offset.bytes, use, index) }
                return 0
            }
            // It begins in the file, so the difference is right.
            if isFirstPass, descriptor.length > fileLength - descriptor.offset.bytes { noteCut(descriptor, use, guest) }
            var stored = descriptor
            if isPastEnd(descriptor.offset.bytes, descriptor.length) {
                if isFirstPass { notePastEnd(.compressedCluster, descriptor.offset.bytes, use, index) }
                // What is in the file is read all the same.
                stored = rest
            }
            let start = stored.offset.bytes
            count(start, stored.length, of: use, entry: index, .compressedCluster, in: &window, isFirstPass)
            return segments(of: start >> bits..<min((start + stored.length - 1) >> bits + 1, 1 << 56))
        }
        let clusterLength = layout.geometry.clusterLength
        if isFirstPass {
            allocated &+= use.activeCount
            if next != 0, offset != next { fragmented &+= use.activeCount }
            next = offset &+ clusterLength
        }
        if layout.hasExternalDataFile {
            // Nothing is counted there, and nothing shared.
            if isFirstPass {
                if !entry.isCopied, use.checksCopied { noteCopied(entry.rawValue, isOne: true, use, index) }
                let isStored = !mapping.isZero && (!layout.geometry.hasSubclusters || bitmap.hasAllocated)
                if isStored, use.activeCount > 0 { dataFileEnd = max(dataFileEnd, offset &+ clusterLength) }
            }
            return 0
        }
        count(offset, clusterLength, of: use, entry: index, .dataCluster, in: &window, isFirstPass)
        guard use.checksCopied else { return segments(of: offset >> bits..<offset >> bits + 2) }
        let cluster = offset >> bits
        if cluster >= limit {
            if isFirstPass {
                strays.append(
                    Stray(
                        structure: .dataCluster, offset: offset, guest: guest, isCopied: entry.isCopied,
                        count: use.activeCount))
            }
            return 0
        }
        if window.clusters.contains(cluster) {
            let isOne = window.isOne(Int(cluster - window.first))
            if isOne != entry.isCopied { noteCopied(entry.rawValue, isOne: isOne, use, index) }
        }
        return segments(of: cluster..<cluster + 2)
    }

    /// Counts references to the clusters that a range touches.
    private mutating func count(
        _ offset: UInt64, _ length: UInt64, of use: TableUse, entry index: Int, _ structure: Qcow2Error.Structure,
        in window: inout ReferenceWindow, _ isFirstPass: Bool
    ) {
        let bits = UInt64(layout.geometry.clusterBits)
        if isPastEnd(offset, length) {
            if isFirstPass { notePastEnd(structure, offset, use, index) }
            return
        }
        let clusters = offset >> bits..<(offset + length - 1) >> bits + 1
        endCluster = max(endCluster, clusters.upperBound)
        for position in window.indices(of: clusters) {
            if window.isMetadata(position) {
                log.note(
                    .overlap, .warning, structure.rawValue, at: offset, guest: guest(use, index), count: use.count,
                    "it lies on top of metadata")
                if overlaps.count < Self.maximumOverlaps {
                    overlaps.append(
                        Overlap(
                            cluster: window.first + UInt64(position), isActive: use.activeCount > 0,
                            isInSnapshot: use.count > use.activeCount))
                }
            }
            window.add(use.count, at: position)
        }
    }

    private mutating func noteCut(_ descriptor: CompressedClusterDescriptor, _ use: TableUse, _ guest: UInt64) {
        if cutStreams[descriptor] != nil || cutStreams.count < Self.maximumCutStreams {
            cutStreams[descriptor, default: CutStream(guest: guest, count: 0)].count += use.count
        } else {
            unknownCutStreams += use.count
        }
    }

    private func isPastEnd(_ offset: UInt64, _ length: UInt64) -> Bool {
        ImageLayout.isPastEnd(
            offset: offset, length: length, fileLength: fileLength, clusterLength: layout.geometry.clusterLength)
    }

    private mutating func notePastEnd(
        _ structure: Qcow2Error.Structure, _ offset: UInt64, _ use: TableUse, _ index: Int
    ) {
        lowestPastEnd = min(lowestPastEnd, offset)
        log.note(
            .clusterPastEnd, structure.rawValue, at: offset, guest: guest(use, index), count: use.count,
            "it reaches past the end of the file (\(fileLength) bytes)")
    }

    private mutating func noteCopied(_ raw: UInt64, isOne: Bool, _ use: TableUse, _ index: Int) {
        if !unknownBlocks.isEmpty {
            let cluster = (raw & L2Entry.offsetMask) >> UInt64(layout.geometry.clusterBits)
            if unknownBlocks.contains(Int(cluster / refcountsPerBlock)) { return }
        }
        log.note(
            .copiedFlag, "data cluster", at: raw & L2Entry.offsetMask, guest: guest(use, index), count: use.activeCount,
            isOne
                ? "its refcount is 1 and its entry has no copied flag"
                : "its entry has the copied flag and its refcount is not 1")
    }

    func guest(_ use: TableUse, _ index: Int) -> UInt64 {
        // An L1 table has at most 2^22 entries, of 2^39 bytes.
        UInt64(use.l1Index) << UInt64(layout.geometry.l2CoverageBits)
            | UInt64(index) << UInt64(layout.geometry.clusterBits)
    }
}
