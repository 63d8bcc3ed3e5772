// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

extension PersistentBitmaps {
    /// Clusters that a part of a bitmap fills.
    struct Use {
        let structure: Qcow2Error.Structure
        let clusters: Range<UInt64>
    }

    /// Refuses bitmaps that lie on top of other structures or each other, or in clusters that count as free: new bitmaps
    /// would be written over them, and clusters given back that others use.
    ///
    /// - Parameter checksReferences: whether the disk's clusters are looked at too, all of them.
    func checkClusters(checksReferences: Bool) async throws(BlockError) {
        guard let metadata else { return }
        try await metadata.changes.withLock { () async throws(BlockError) in
            var uses = state.withLock { $0.location }.map { [use($0)] } ?? []
            for entry in state.withLock({ $0.entries }) {
                uses += try await self.uses(entry).uses
            }
            let bits = UInt64(reader.layout.geometry.clusterBits)
            uses.sort { $0.clusters.lowerBound < $1.clusters.lowerBound }
            var end: UInt64 = 0
            for use in uses {
                let offset = use.clusters.lowerBound << bits
                let length = UInt64(use.clusters.count) << bits
                guard use.clusters.lowerBound >= end,
                    metadata.decoder.metadata.firstOverlap(offset: offset, length: length) == nil
                else { throw reader.failure(.overlaps(use.structure, offset: offset)) }
                end = use.clusters.upperBound
                for cluster in use.clusters where try await metadata.refcount(of: cluster) == 0 {
                    throw reader.failure(
                        .refcount(
                            cluster: cluster,
                            rule:
                                "is 0 although a \(use.structure.rawValue) is there; repair it first (qcowbackup check -r all)"
                        ))
                }
            }
            if checksReferences { try await metadata.checkReferences(apartFrom: uses.map(\.clusters)) }
        }
    }

    /// The clusters that a directory fills.
    func use(_ location: BitmapsExtension) -> Use {
        Use(
            structure: .bitmapDirectory,
            clusters: clusters(offset: location.directoryOffset, length: location.directoryLength))
    }

    /// The clusters that a bitmap fills, runs of bits together.
    ///
    /// - Returns: also whether these are all: where the table breaks the format, nobody knows where the bits are.
    func uses(_ entry: BitmapDirectoryEntry) async throws(BlockError) -> (uses: [Use], isComplete: Bool) {
        var uses = [
            Use(
                structure: .bitmapTable,
                clusters: clusters(offset: entry.tableOffset, length: UInt64(entry.tableSize) * 8))
        ]
        let table: [BitmapTableEntry]
        do throws(BlockError) {
            table = try await reader.table(of: entry)
        } catch {
            guard case .layer = error else { throw error }
            return (uses, false)
        }
        for case .stored(let host) in table {
            let cluster = host.bytes >> UInt64(reader.layout.geometry.clusterBits)
            if let last = uses.last, last.structure == .bitmapCluster, last.clusters.upperBound == cluster {
                uses[uses.count - 1] = Use(
                    structure: .bitmapCluster, clusters: last.clusters.lowerBound..<cluster + 1)
            } else {
                uses.append(Use(structure: .bitmapCluster, clusters: cluster..<cluster + 1))
            }
        }
        return (uses, true)
    }

    /// - Parameter length: more than 0.
    private func clusters(offset: UInt64, length: UInt64) -> Range<UInt64> {
        let bits = UInt64(reader.layout.geometry.clusterBits)
        return offset >> bits..<(offset + length - 1) >> bits + 1
    }
}
