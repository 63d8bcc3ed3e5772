// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

extension Qcow2Image {
    package func blockStatus(
        at offset: UInt64, length: UInt64, in scope: BlockStatusScope
    ) async throws(BlockError) -> BlockExtent {
        try checkRange(at: offset, length: length)
        guard length > 0, let run = try await metadata.runs(at: GuestOffset(offset), length: length, limit: 1).first
        else { throw .outOfRange(device: name, offset: offset, length: length, deviceLength: self.length) }
        switch run.kind {
        case .unallocated:
            return try await unallocated(run, in: scope)
        case .zero(let reserved):
            return BlockExtent(
                length: run.length, isAllocated: true, readsAsZero: true,
                location: reserved.map { StorageLocation(device: storage, offset: $0.bytes) })
        case .data(let host):
            return try await stored(run, at: host, in: scope)
        case .compressed:
            return BlockExtent(length: run.length, isAllocated: true, readsAsZero: false, isCompressed: true)
        }
    }

    private func stored(
        _ run: ClusterRun, at host: HostOffset, in scope: BlockStatusScope
    ) async throws(BlockError) -> BlockExtent {
        let fileLength = storage.length
        // Of the file's last cluster a part may be missing, which is zeroes; what lies behind it can't be read.
        guard host.bytes < fileLength else {
            let end = fileLength.alignedUp(to: geometry.clusterLength) ?? fileLength
            let isPadding = host.bytes < end
            return BlockExtent(
                length: isPadding ? min(run.length, end - host.bytes) : run.length, isAllocated: true,
                readsAsZero: isPadding)
        }
        var extent = BlockExtent(
            length: min(run.length, fileLength - host.bytes), isAllocated: true, readsAsZero: false,
            location: StorageLocation(device: storage, offset: host.bytes))
        // An external data file may have holes. In the image file itself clusters are allocated to be filled, unless all
        // were before anything was written; there, whoever asks for the top layer wants to know what it hides.
        if dataFile != nil || looksForHoles && scope == .chain {
            let below = try await storage.blockStatus(at: host.bytes, length: extent.length, in: .topLayer)
            extent.length = below.length
            extent.readsAsZero = below.readsAsZero
        }
        return extent
    }

    private func unallocated(_ run: ClusterRun, in scope: BlockStatusScope) async throws(BlockError) -> BlockExtent {
        guard let backing, scope == .chain else {
            return BlockExtent(length: run.length, isAllocated: false, readsAsZero: backing == nil)
        }
        let start = run.guest.bytes
        guard start < backing.length else {
            // Past its end a backing file reads as zeroes.
            return BlockExtent(length: run.length, isAllocated: false, readsAsZero: true, depth: 1)
        }
        var extent = try await backing.blockStatus(
            at: start, length: min(run.length, backing.length - start), in: .chain)
        extent.depth += 1
        return extent
    }
}
