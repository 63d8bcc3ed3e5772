// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// What must hold before an image is changed.
extension Qcow2File {
    func checkWritable() throws(BlockError) {
        let features = header.header.incompatibleFeatures
        if features.contains(.corrupt) {
            throw failure(.notWritable(reason: "it is marked corrupt; repair it first (qcowbackup check -r all)"))
        }
        if features.contains(.dirty) {
            throw failure(.notWritable(reason: "it was not closed; repair it first (qcowbackup check -r all)"))
        }
        // The header is written last: what can't be written then is better known now.
        do throws(Qcow2Error.Problem) {
            _ = try header.encoded()
        } catch {
            throw failure(error)
        }
    }

    /// Refuses an image whose bitmaps would miss the changes. Bitmaps that are not valid any more miss nothing.
    func checkBitmaps() throws(BlockError) {
        guard header.hasBitmaps else { return }
        throw failure(
            .notWritable(
                reason: "its dirty bitmaps would miss the changes; remove them first (qcowbackup bitmap remove)"))
    }

    /// Refuses refcount blocks that can't be relied on: whoever looks for free clusters would never find an end, or take
    /// clusters that are in use.
    func checkRefcountBlocks(
        _ refcountTable: [UInt64], tables: [(offset: UInt64, length: UInt64)]
    ) throws(BlockError) {
        let clusterLength = layout.geometry.clusterLength
        // What is written to one table would change the other.
        let occupied = tables.filter { $0.length > 0 }.map { table in
            table.offset / clusterLength..<(table.offset + table.length - 1) / clusterLength + 1
        }.sorted { $0.lowerBound < $1.lowerBound }
        if let pair = zip(occupied, occupied.dropFirst()).first(where: { $0.upperBound > $1.lowerBound }) {
            throw failure(.overlaps(.refcountTable, offset: pair.1.lowerBound * clusterLength))
        }
        let fixed = MetadataClusters(clusterBits: layout.geometry.clusterBits, ranges: tables)
        let blocks = refcountTable.filter { $0 != 0 }.sorted()
        for (index, offset) in blocks.enumerated() {
            do throws(Qcow2Error.Problem) {
                try ImageLayout.checkTable(
                    .refcountBlock, offset: offset, length: clusterLength, clusterLength: clusterLength,
                    fileLength: file.length)
            } catch {
                throw failure(error)
            }
            guard fixed.firstOverlap(offset: offset, length: clusterLength) == nil,
                index == 0 || blocks[index - 1] != offset
            else { throw failure(.overlaps(.refcountBlock, offset: offset)) }
        }
    }
}
