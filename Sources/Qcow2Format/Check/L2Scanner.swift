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

    let layout: ImageLayout
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
    /// The lowest offset of what lies past the end of the file.
    var lowestPastEnd = UInt64.max
    /// First cluster behind all that are referred to.
    var endCluster: UInt64 = 0

    init(layout: ImageLayout, fileLength: UInt64, limit: UInt64, unknownBlocks: Set<Int>, log: ProblemLog) {
        self.layout = layout
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

    /// Whether a range reaches past the end of the file. The last cluster of an image may be cut short.
    static func isPastEnd(offset: UInt64, length: UInt64, fileLength: UInt64, clusterLength: UInt64) -> Bool {
        guard let end = offset.adding(length) else { return true }
        return end >= fileLength && end - fileLength >= clusterLength
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
        let geometry = layout.geometry
        let bits = UInt64(geometry.clusterBits)
        let guest = guest(use, index)
        if entry.isCompressed {
            let descriptor = CompressedClusterDescriptor(entry, clusterBits: geometry.clusterBits)
            let offset = descriptor.offset.bytes
            if isFirstPass, entry.isCopied {
                log.note(
                    .compressed, "compressed cluster", at: offset, guest: guest, count: use.count,
                    "its entry has the copied flag, which none may have")
            }
            if layout.hasExternalDataFile || bitmap.rawValue != 0 {
                if isFirstPass {
                    log.note(
                        .compressed, "compressed cluster", at: offset, guest: guest, count: use.count,
                        layout.hasExternalDataFile
                            ? "images with an external data file have none"
                            : "it has a subcluster bitmap (\(hex(bitmap.rawValue)))")
                }
                return 0
            }
            if isFirstPass {
                allocated &+= use.activeCount
                compressed &+= use.activeCount
                // They are packed at any byte: nothing follows anything.
                fragmented &+= use.activeCount
            }
            count(offset, descriptor.length, of: use, entry: index, .compressedCluster, in: &window, isFirstPass)
            return segments(of: offset >> bits..<min((offset + descriptor.length - 1) >> bits + 1, 1 << 56))
        }
        if isFirstPass { noteReservedBits(entry, use, guest) }
        let offset = entry.hostOffset.bytes
        if offset == 0, entry.isZero && !geometry.hasSubclusters || !layout.hasExternalDataFile || !entry.isCopied {
            guard isFirstPass else { return 0 }
            if bitmap.hasAllocated {
                log.note(
                    .subclusters, "L2 entry", guest: guest, count: use.count,
                    "subclusters are allocated (\(hex(bitmap.rawValue))) and there is no cluster")
            }
            if entry.isCopied, !entry.isZero {
                log.note(
                    .overlap, .warning, "L2 entry", guest: guest, count: use.count,
                    "it leads to the header (\(hex(entry.rawValue)))")
            }
            return 0
        }
        if isFirstPass {
            noteCluster(entry, bitmap, use, guest)
            allocated &+= use.activeCount
            if next != 0, offset != next { fragmented &+= use.activeCount }
            next = offset &+ geometry.clusterLength
        }
        if layout.hasExternalDataFile {
            // Nothing is counted there, and nothing shared.
            if isFirstPass, !entry.isCopied, use.checksCopied { noteCopied(entry.rawValue, isOne: true, use, index) }
            return 0
        }
        count(offset, geometry.clusterLength, of: use, entry: index, .dataCluster, in: &window, isFirstPass)
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

    private mutating func noteReservedBits(_ entry: L2Entry, _ use: TableUse, _ guest: UInt64) {
        if entry.rawValue & L2Entry.reservedMask != 0 {
            log.note(
                .l2ReservedBits, "L2 entry", guest: guest, count: use.count,
                "it has reserved bits set (\(hex(entry.rawValue)))")
        } else if entry.hasReservedBits(allowsZero: layout.version >= 3 && !layout.geometry.hasSubclusters) {
            log.note(
                .l2ReservedBits, .warning, "L2 entry", guest: guest, count: use.count,
                "it has the zero flag, which such images don't have (\(hex(entry.rawValue)))")
        }
    }

    /// What is wrong with the entry of a plain cluster.
    private mutating func noteCluster(
        _ entry: L2Entry, _ bitmap: SubclusterBitmap, _ use: TableUse, _ guest: UInt64
    ) {
        let offset = entry.hostOffset.bytes
        if layout.geometry.hasSubclusters, !bitmap.isValid {
            log.note(
                .subclusters, "L2 entry", guest: guest, count: use.count,
                "subclusters are allocated and zero at once (\(hex(bitmap.rawValue)))")
        }
        if !offset.isAligned(to: layout.geometry.clusterLength) {
            log.note(
                .clusterUnaligned, "data cluster", at: offset, guest: guest, count: use.count,
                "it is not aligned to a cluster")
        }
    }

    /// Counts references to the clusters that a range touches.
    private mutating func count(
        _ offset: UInt64, _ length: UInt64, of use: TableUse, entry index: Int, _ structure: Qcow2Error.Structure,
        in window: inout ReferenceWindow, _ isFirstPass: Bool
    ) {
        let clusterLength = layout.geometry.clusterLength
        let bits = UInt64(layout.geometry.clusterBits)
        if Self.isPastEnd(offset: offset, length: length, fileLength: fileLength, clusterLength: clusterLength) {
            if isFirstPass {
                lowestPastEnd = min(lowestPastEnd, offset)
                log.note(
                    .clusterPastEnd, structure.rawValue, at: offset, guest: guest(use, index), count: use.count,
                    "it reaches past the end of the file (\(fileLength) bytes)")
            }
            return
        }
        let clusters = offset >> bits..<(offset + length - 1) >> bits + 1
        endCluster = max(endCluster, clusters.upperBound)
        for position in window.indices(of: clusters) {
            if window.isMetadata(position) {
                log.note(
                    .overlap, .warning, structure.rawValue, at: offset, guest: guest(use, index), count: use.count,
                    "it lies on top of metadata")
            }
            window.add(use.count, at: position)
        }
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

    private func guest(_ use: TableUse, _ index: Int) -> UInt64 {
        // An L1 table has at most 2^22 entries, of 2^39 bytes.
        UInt64(use.l1Index) << UInt64(layout.geometry.l2CoverageBits)
            | UInt64(index) << UInt64(layout.geometry.clusterBits)
    }
}
