// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// Turns broken entries of L1 and L2 tables into the nearest that keep the format.
///
/// An entry that leads nowhere becomes zeroes, which is what reading behind the end of the file gives, and not unallocated,
/// which would bring old content of a backing file back; version 2 has nothing else.
struct EntryMender {
    let layout: ImageLayout
    let fileLength: UInt64
    /// Where the file ended when compressed clusters were looked at, and which of them it cuts off.
    private let compressedEnd: UInt64
    private let brokenStreams: Set<CompressedClusterDescriptor>
    let rules: L2EntryRules

    /// - Parameters:
    ///   - run: of the file as it is.
    ///   - first: of the file before it got the rest of its last cluster.
    init(_ run: CheckRun, first: CheckRun) {
        layout = run.layout
        fileLength = run.reader.length
        compressedEnd = first.reader.length
        brokenStreams = first.brokenStreams
        rules = L2EntryRules(run.layout)
    }

    private func isPastEnd(_ offset: UInt64, _ length: UInt64) -> Bool {
        ImageLayout.isPastEnd(
            offset: offset, length: length, fileLength: fileLength, clusterLength: layout.geometry.clusterLength)
    }

    /// - Parameter isTaken: whether something lies at an offset that can't be an L2 table.
    func mended(_ entry: L1Entry, isTaken: (UInt64) -> Bool) -> L1Entry {
        guard let offset = entry.l2TableOffset?.bytes, offset.isAligned(to: layout.geometry.clusterLength),
            !isPastEnd(offset, layout.geometry.clusterLength), !isTaken(offset)
        else { return L1Entry(rawValue: 0) }
        return L1Entry(rawValue: entry.rawValue & ~L1Entry.reservedMask)
    }

    /// - Parameters:
    ///   - guest: offset of the cluster on the disk.
    ///   - isTaken: whether metadata lies in a range of the file, where no cluster of the disk can be.
    func mended(
        _ entry: L2Entry, _ bitmap: SubclusterBitmap, at guest: UInt64, isTaken: (UInt64, UInt64) -> Bool
    ) -> (L2Entry, SubclusterBitmap) {
        let clusterLength = layout.geometry.clusterLength
        let mapping = rules.mapping(of: entry, bitmap, at: guest)
        switch mapping.place {
        case .compressed(let descriptor):
            let isCut = isPastEnd(descriptor.offset.bytes, descriptor.length)
            guard !layout.hasExternalDataFile, !brokenStreams.contains(descriptor),
                let rest = descriptor.clipped(toFileLength: compressedEnd), case let stored = isCut ? rest : descriptor,
                !isTaken(stored.offset.bytes, stored.length)
            else { return zero(SubclusterBitmap(rawValue: SubclusterBitmap.allAllocated.rawValue)) }
            return (L2Entry(stored, clusterBits: layout.geometry.clusterBits), SubclusterBitmap())
        case .none:
            if layout.geometry.hasSubclusters { return zero(bitmap) }
            return (mapping.isZero && layout.version >= 3 ? .zero : .unallocated, SubclusterBitmap())
        case .cluster(let host):
            // A subcluster that is zero and allocated at once is zero.
            let subclusters = SubclusterBitmap(rawValue: bitmap.rawValue & ~(bitmap.rawValue >> 32))
            let zeroFlag = mapping.isZero && layout.version >= 3 ? L2Entry.zeroFlag : 0
            let flags = entry.rawValue & L2Entry.copiedFlag | zeroFlag
            if layout.hasExternalDataFile {
                // Where the guest has it is the only place that it can have there.
                let isMoved = host.bytes != guest
                return (L2Entry(rawValue: guest | flags | (isMoved ? L2Entry.copiedFlag : 0)), subclusters)
            }
            guard host.bytes.isAligned(to: clusterLength), !isPastEnd(host.bytes, clusterLength),
                !isTaken(host.bytes, clusterLength)
            else { return zero(subclusters) }
            return (L2Entry(rawValue: host.bytes | flags), subclusters)
        }
    }

    /// An entry without a cluster.
    ///
    /// - Parameter bitmap: what was allocated becomes zero.
    func zero(_ bitmap: SubclusterBitmap) -> (L2Entry, SubclusterBitmap) {
        if layout.geometry.hasSubclusters {
            let allocated = bitmap.rawValue & SubclusterBitmap.allAllocated.rawValue
            let zeroes = bitmap.rawValue & SubclusterBitmap.allZero.rawValue
            return (.unallocated, SubclusterBitmap(rawValue: zeroes | allocated << 32))
        }
        return (layout.version >= 3 ? .zero : .unallocated, SubclusterBitmap())
    }
}
