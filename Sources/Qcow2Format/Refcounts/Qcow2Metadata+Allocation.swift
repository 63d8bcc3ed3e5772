// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import Glibc
import SystemPackage

/// Finding room in the image file. Everything here is called with `changes` held.
extension Qcow2Metadata {
    /// Allocates clusters that follow each other; their refcounts are 1 then.
    ///
    /// - Parameter count: how many are wanted, at least 1.
    /// - Returns: at least one cluster and at most `count`.
    func allocate(atMost count: UInt64) async throws(BlockError) -> Range<UInt64> {
        let clusters = try await findFree(atMost: count)
        try await take(clusters)
        try await occupy(clusters)
        return clusters
    }

    /// Allocates exactly this many clusters that follow each other, and returns the first.
    func allocate(exactly count: UInt64) async throws(BlockError) -> UInt64 {
        let first = try await findFree(exactly: count)
        try await take(first..<first + count)
        try await occupy(first..<first + count)
        return first
    }

    /// Keeps later searches away from clusters that are free still but promised, and makes the file long enough for
    /// them.
    func take(_ clusters: Range<UInt64>) async throws(BlockError) {
        guard clusters.upperBound <= Qcow2Limits.hostOffset >> UInt64(geometry.clusterBits) else {
            throw failure(.tooLarge(what: "the image file", limit: "offsets end at 2^56"))
        }
        try await extendFile(to: clusters.upperBound << UInt64(geometry.clusterBits))
        state.withLock { state in
            state.firstFreeCluster = clusters.upperBound
            state.endCluster = max(state.endCluster, clusters.upperBound)
        }
    }

    private func extendFile(to needed: UInt64) async throws(BlockError) {
        guard needed > file.length else { return }
        let rounded = needed.alignedUp(to: growthStep) ?? needed
        do {
            try await file.resize(to: rounded)
        } catch {
            // Close to a limit on the length of files there is no room to be generous, nor where a longer file takes room at
            // once and there is little left.
            if Self.isLackOfRoom(error), rounded > needed { return try await file.resize(to: needed) }
            // A block device holds what it holds.
            guard case .unsupported = error else { throw error }
            throw .system(SystemCallError(call: "allocate", errno: .noSpace, path: file.name, offset: file.length))
        }
    }

    private static func isLackOfRoom(_ error: BlockError) -> Bool {
        [.fileTooLarge, .noSpace, Errno(rawValue: EDQUOT)].contains(error.errno)
    }

    /// The first free clusters that follow each other, at most `count`.
    ///
    /// - Complexity: O(n) in the clusters in use behind the first free one.
    func findFree(atMost count: UInt64) async throws(BlockError) -> Range<UInt64> {
        let first = try await firstFree(from: state.withLock { $0.firstFreeCluster })
        return first..<(try await firstUsed(in: first..<first + count) ?? first + count)
    }

    /// The first cluster of `count` free ones that follow each other.
    func findFree(exactly count: UInt64) async throws(BlockError) -> UInt64 {
        var next = state.withLock { $0.firstFreeCluster }
        while true {
            let first = try await firstFree(from: next)
            guard let used = try await firstUsed(in: first..<first + count) else { return first }
            next = used
        }
    }

    /// Makes clusters free that were promised and not used.
    private func untake(_ clusters: Range<UInt64>) {
        guard !clusters.isEmpty else { return }
        state.withLock { $0.firstFreeCluster = min($0.firstFreeCluster, clusters.lowerBound) }
    }

    /// Streams that are being placed.
    private struct Placing {
        var offsets: [HostOffset] = []
        /// Where the next stream goes, if the cluster there can be shared; 0 for nowhere.
        var position: UInt64
        /// Refcount of the cluster that `position` lies in.
        var references: UInt64
        /// Clusters behind the one at hand that are taken but hold nothing yet.
        var fresh: Range<UInt64> = 0..<0
    }

    /// Places compressed clusters one behind the other, and takes a reference to each host cluster that they touch.
    ///
    /// - Parameter lengths: bytes of each, at most a cluster.
    /// - Returns: where each one starts. They ascend, and those that follow each other directly may be written as one.
    func allocateCompressed(_ lengths: [Int]) async throws(BlockError) -> [HostOffset] {
        let (position, references) = state.withLock { ($0.compressedEnd, $0.compressedRefcount) }
        // What is written together starts where the disk takes it directly; what lies before stays unused.
        let start = position.alignedUp(to: min(file.preferredAlignment, geometry.clusterLength)) ?? 0
        var placing = Placing(position: start, references: references)
        placing.offsets.reserveCapacity(lengths.count)
        do throws(BlockError) {
            var rest = lengths.reduce(0) { $0 + UInt64($1) }
            for length in lengths {
                try await place(UInt64(length), of: rest, in: &placing)
                rest -= UInt64(length)
            }
        } catch {
            // What was placed before is not going to be used.
            untake(placing.fresh)
            for (offset, length) in zip(placing.offsets, lengths) {
                try await release(offset: offset.bytes, length: UInt64(length))
            }
            throw error
        }
        untake(placing.fresh)
        state.withLock { state in
            state.compressedEnd = isClusterStart(placing.position) ? 0 : placing.position
            state.compressedRefcount = placing.references
        }
        return placing.offsets
    }

    private func isClusterStart(_ position: UInt64) -> Bool { position & (geometry.clusterLength - 1) == 0 }

    /// Places one stream.
    ///
    /// - Parameter rest: bytes of this stream and all that follow.
    private func place(_ length: UInt64, of rest: UInt64, in placing: inout Placing) async throws(BlockError) {
        let bits = UInt64(geometry.clusterBits)
        if !isClusterStart(placing.position), placing.references >= layout.refcounts.maximum {
            // The cluster can't be shared any further.
            placing.position = placing.fresh.isEmpty ? 0 : placing.fresh.lowerBound << bits
        }
        let isFull = isClusterStart(placing.position)
        let needsNext = isFull || (placing.position + length - 1) >> bits > placing.position >> bits
        if needsNext, placing.fresh.isEmpty {
            let found = try await findFree(atMost: rest.dividedRoundingUp(by: geometry.clusterLength) + 1)
            // What lies in the way of going on behind the last byte makes us start afresh.
            if isFull || found.lowerBound != placing.position >> bits + 1 {
                placing.position = found.lowerBound << bits
            }
            try await take(found)
            placing.fresh = found
        }
        let end = placing.position + length
        guard end <= CompressedClusterDescriptor.offsetLimit(clusterBits: geometry.clusterBits) else {
            throw failure(
                .tooLarge(what: "the image file", limit: "compressed clusters of this size can't lie that far behind"))
        }
        try await refer(to: placing.position..<end, in: &placing)
        placing.offsets.append(HostOffset(placing.position))
        placing.position = end
    }

    /// Takes references for one stream.
    private func refer(to range: Range<UInt64>, in placing: inout Placing) async throws(BlockError) {
        let bits = UInt64(geometry.clusterBits)
        let first = range.lowerBound >> bits
        for cluster in first...(range.upperBound - 1) >> bits {
            do throws(BlockError) {
                let isFresh = placing.fresh.contains(cluster)
                let references = isFresh ? 1 : placing.references + 1
                try await setRefcount(of: cluster, to: references)
                placing.references = references
                if isFresh { placing.fresh = cluster + 1..<placing.fresh.upperBound }
            } catch {
                if cluster > first {
                    try await release(offset: first << bits, length: (cluster - first) << bits)
                }
                throw error
            }
        }
    }
}
