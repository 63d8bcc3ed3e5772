// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import SystemPackage

/// What of the first pass over the tables is settled behind it: entries that lead to the end of the file or behind it.
extension CheckRun {
    /// Compares the copied flags of active L1 entries that lead behind the end of the file with the refcounts there. These
    /// tables are not kept: there may be as many as the L1 table has entries.
    func settleFarTables() async throws(BlockError) {
        guard hasFarTables, let active = l1Tables.first else { return }
        try await forEachEntry(of: active) { (entry, index) async throws(BlockError) in
            guard let offset = entry.l2TableOffset?.bytes, isPastEnd(offset),
                let refcount = try await refcount(of: offset >> clusterBits), (refcount == 1) != entry.isCopied
            else { return }
            noteCopied(
                .l2Table, at: offset, guest: UInt64(index) << UInt64(geometry.l2CoverageBits), isOne: refcount == 1,
                count: 1, &log)
        }
    }

    /// Finds out which compressed clusters are whole although the file ends before they may. Writers record whole sectors,
    /// and the last one need not be there.
    func settleCutStreams(_ scanner: L2Scanner) async throws(BlockError) {
        if scanner.unknownCutStreams > 0 {
            log.note(
                .compressed, Qcow2Error.Structure.compressedCluster.rawValue, count: scanner.unknownCutStreams,
                "the end of the file cuts off a part of it")
        }
        guard !scanner.cutStreams.isEmpty else { return }
        guard
            var decompressor = try? ClusterDecompressor(
                type: layout.compressionType, clusterSize: Int(clusterLength))
        else { throw .system(SystemCallError(call: "allocate", errno: .noMemory, path: reader.file.name)) }
        var cluster = AlignedBuffer(count: Int(clusterLength))
        for (descriptor, stream) in scanner.cutStreams.sorted(by: { $0.value.guest < $1.value.guest }) {
            guard let stored = descriptor.clipped(toFileLength: reader.length) else { continue }
            // At most two clusters.
            let count = Int(min(stored.length, reader.length - stored.offset.bytes))
            let bytes: [UInt8]
            do {
                bytes = try await reader.bytes(at: stored.offset.bytes, count: count)
            } catch {
                if case .cancelled = error { throw error }
                hasLostReferences = true
                log.note(
                    .unreadable, .unchecked, Qcow2Error.Structure.compressedCluster.rawValue,
                    at: descriptor.offset.bytes, "\(error)")
                continue
            }
            var target = cluster.mutableBytes
            if (try? decompressor.decompress(bytes.span.bytes, into: &target)) != nil { continue }
            brokenStreams.insert(descriptor)
            log.note(
                .compressed, Qcow2Error.Structure.compressedCluster.rawValue, at: descriptor.offset.bytes,
                guest: stream.guest, count: stream.count,
                "the file ends before its data does (\(reader.length) bytes)")
        }
    }

    /// Compares copied flags with the refcounts of clusters behind the end of the file.
    func settleStrays(_ strays: [L2Scanner.Stray]) async throws(BlockError) {
        for stray in strays {
            guard let refcount = try await refcount(of: stray.offset >> clusterBits) else { continue }
            if (refcount == 1) == stray.isCopied { continue }
            noteCopied(
                stray.structure, at: stray.offset, guest: stray.guest, isOne: refcount == 1, count: stray.count, &log)
        }
    }
}
