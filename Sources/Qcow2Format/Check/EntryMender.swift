// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding

/// Turns broken entries of L1 and L2 tables into the nearest that keep the format.
///
/// An entry that leads nowhere becomes zeroes, which is what reading behind the end of the file gives, and not unallocated,
/// which would bring old content of a backing file back; version 2 has nothing else.
struct EntryMender {
    let layout: ImageLayout
    let fileLength: UInt64

    private func isPastEnd(_ offset: UInt64, _ length: UInt64) -> Bool {
        L2Scanner.isPastEnd(
            offset: offset, length: length, fileLength: fileLength, clusterLength: layout.geometry.clusterLength)
    }

    /// - Parameter isTaken: whether something lies at an offset that can't be an L2 table.
    func mended(_ entry: L1Entry, isTaken: (UInt64) -> Bool) -> L1Entry {
        guard let offset = entry.l2TableOffset?.bytes, offset.isAligned(to: layout.geometry.clusterLength),
            !isPastEnd(offset, layout.geometry.clusterLength), !isTaken(offset)
        else { return L1Entry(rawValue: 0) }
        return L1Entry(rawValue: entry.rawValue & ~L1Entry.reservedMask)
    }

    func mended(_ entry: L2Entry, _ bitmap: SubclusterBitmap) -> (L2Entry, SubclusterBitmap) {
        let geometry = layout.geometry
        if entry.isCompressed {
            let plain = L2Entry(rawValue: entry.rawValue & ~L2Entry.copiedFlag)
            let descriptor = CompressedClusterDescriptor(plain, clusterBits: geometry.clusterBits)
            guard !layout.hasExternalDataFile, !isPastEnd(descriptor.offset.bytes, descriptor.length) else {
                return zero(SubclusterBitmap(rawValue: SubclusterBitmap.allAllocated.rawValue))
            }
            return (plain, SubclusterBitmap())
        }
        let plain = L2Entry(rawValue: entry.rawValue & ~L2Entry.reservedMask)
        let offset = plain.hostOffset.bytes
        // A subcluster that is zero and allocated at once is zero.
        let mask = bitmap.rawValue >> 32
        let subclusters = SubclusterBitmap(rawValue: geometry.hasSubclusters ? bitmap.rawValue & ~mask : 0)
        if offset == 0 {
            if layout.hasExternalDataFile, plain.isCopied { return (plain, subclusters) }
            if geometry.hasSubclusters { return zero(subclusters) }
            return (L2Entry(rawValue: plain.rawValue & ~L2Entry.copiedFlag), subclusters)
        }
        let isNowhere = !layout.hasExternalDataFile && isPastEnd(offset, geometry.clusterLength)
        guard offset.isAligned(to: geometry.clusterLength), !isNowhere else { return zero(subclusters) }
        return (plain, subclusters)
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
