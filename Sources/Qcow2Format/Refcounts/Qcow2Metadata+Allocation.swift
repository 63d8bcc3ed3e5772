// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import SystemPackage

/// Finding room in the image file. Everything here is called with `changes` held.
extension Qcow2Metadata {
    /// The file grows in steps of this many bytes, because writes inside a file's length pass each other where writes
    /// that extend it queue. What is left over is cut off at the end.
    private static let growthStep: UInt64 = 64 << 20

    /// Allocates clusters that follow each other; their refcounts are 1 then.
    ///
    /// - Parameter count: how many are wanted, at least 1.
    /// - Returns: at least one cluster and at most `count`.
    func allocate(atMost count: UInt64) async throws(BlockError) -> Range<UInt64> {
        let clusters = try await findFree(atMost: count)
        try await occupy(clusters)
        return clusters
    }

    /// Allocates exactly this many clusters that follow each other, and returns the first.
    func allocate(exactly count: UInt64) async throws(BlockError) -> UInt64 {
        let first = try await findFree(exactly: count)
        try await occupy(first..<first + count)
        return first
    }

    private func occupy(_ clusters: Range<UInt64>) async throws(BlockError) {
        try take(clusters)
        try await setRefcounts(of: clusters, to: 1)
        try await extendFile()
    }

    /// Keeps later searches away from clusters that are free still but promised.
    func take(_ clusters: Range<UInt64>) throws(BlockError) {
        guard clusters.upperBound <= Qcow2Limits.hostOffset >> UInt64(geometry.clusterBits) else {
            throw failure(.tooLarge(what: "the image file", limit: "offsets end at 2^56"))
        }
        state.withLock { state in
            state.firstFreeCluster = clusters.upperBound
            state.endCluster = max(state.endCluster, clusters.upperBound)
        }
    }

    /// Makes the file long enough for all clusters in use.
    func extendFile() async throws(BlockError) {
        let needed = state.withLock { $0.endCluster } << UInt64(geometry.clusterBits)
        guard needed > file.length else { return }
        do {
            try await file.resize(to: needed.alignedUp(to: Self.growthStep) ?? needed)
        } catch {
            // A block device holds what it holds.
            guard case .unsupported = error else { throw error }
            throw .system(SystemCallError(call: "allocate", errno: .noSpace, path: file.name, offset: file.length))
        }
    }

    /// The first free clusters that follow each other, at most `count`.
    ///
    /// - Complexity: O(n) in the clusters in use behind the first free one.
    func findFree(atMost count: UInt64) async throws(BlockError) -> Range<UInt64> {
        var next = state.withLock { $0.firstFreeCluster }
        while true {
            if let free = try await freeClusters(from: next, atMost: count).nonEmpty { return free }
            next += 1
        }
    }

    /// The first cluster of `count` free ones that follow each other.
    func findFree(exactly count: UInt64) async throws(BlockError) -> UInt64 {
        var next = state.withLock { $0.firstFreeCluster }
        while true {
            let free = try await freeClusters(from: next, atMost: count)
            if UInt64(free.count) == count { return free.lowerBound }
            next = free.upperBound + 1
        }
    }

    /// The clusters from `start` on up to the first that is in use: none, or as many as `count`.
    private func freeClusters(from start: UInt64, atMost count: UInt64) async throws(BlockError) -> Range<UInt64> {
        var end = start
        while end < start + count {
            guard try await refcount(of: end) == 0, !isOldMetadata(end) else { break }
            end += 1
        }
        return start..<end
    }

    /// Whether the cluster held metadata when the image was opened. It is not used again as long as the image is open,
    /// so that an entry that leads there stays recognisable as corrupt.
    private func isOldMetadata(_ cluster: UInt64) -> Bool {
        decoder.metadata.firstOverlap(offset: cluster << UInt64(geometry.clusterBits), length: 1) != nil
    }

    /// Places compressed clusters one behind the other, and takes a reference to each host cluster that they touch.
    ///
    /// - Parameter lengths: bytes of each, at most a cluster.
    /// - Returns: where each one starts. They ascend, and those that follow each other directly may be written as one.
    func allocateCompressed(_ lengths: [Int]) async throws(BlockError) -> [HostOffset] {
        let bits = UInt64(geometry.clusterBits)
        let total = lengths.reduce(0) { $0 + UInt64($1) }
        var offsets: [HostOffset] = []
        offsets.reserveCapacity(lengths.count)
        var (position, references) = state.withLock { ($0.compressedEnd, $0.compressedRefcount) }
        // What is written together starts where the disk takes it directly; what lies before stays unused.
        position = position.alignedUp(to: min(file.preferredAlignment, geometry.clusterLength)) ?? 0
        // Clusters behind the one at hand that are taken but hold nothing yet; from `fresh.lowerBound` on.
        var fresh: Range<UInt64> = 0..<0
        var rest = total
        for length in lengths {
            let length = UInt64(length)
            if position & (geometry.clusterLength - 1) != 0, references >= layout.refcounts.maximum {
                // The cluster can't be shared any further.
                position = fresh.isEmpty ? 0 : fresh.lowerBound << bits
            }
            let isFull = position & (geometry.clusterLength - 1) == 0
            let end = position + length
            let needsNext = isFull ? 1 : (end - 1) >> bits > position >> bits ? 1 : 0
            if needsNext == 1, fresh.isEmpty {
                let wanted = rest.dividedRoundingUp(by: geometry.clusterLength) + 1
                let found = try await findFree(atMost: wanted)
                // What lies in the way of going on behind the last byte makes us start afresh.
                if isFull || found.lowerBound != position >> bits + 1 { position = found.lowerBound << bits }
                fresh = found
                try take(found)
            }
            offsets.append(HostOffset(position))
            (position, references) = try await refer(to: position, length: length, references, fresh: &fresh)
            rest -= length
        }
        state.withLock { state in
            // Unused ones were only promised.
            if !fresh.isEmpty { state.firstFreeCluster = min(state.firstFreeCluster, fresh.lowerBound) }
            state.compressedEnd = position & (geometry.clusterLength - 1) == 0 ? 0 : position
            state.compressedRefcount = references
        }
        try await extendFile()
        return offsets
    }

    /// Takes references for one compressed cluster; returns the byte behind it and the refcount of that byte's cluster.
    private func refer(
        to position: UInt64, length: UInt64, _ references: UInt64, fresh: inout Range<UInt64>
    ) async throws(BlockError) -> (UInt64, UInt64) {
        let bits = UInt64(geometry.clusterBits)
        var references = references
        for cluster in position >> bits...(position + length - 1) >> bits {
            if fresh.contains(cluster) {
                fresh = cluster + 1..<fresh.upperBound
                references = 1
            } else {
                references += 1
            }
            try await setRefcounts(of: cluster..<cluster + 1, to: references)
        }
        return (position + length, references)
    }
}

extension Range {
    /// The range, unless it is empty.
    fileprivate var nonEmpty: Range? { isEmpty ? nil : self }
}
