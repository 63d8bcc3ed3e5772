// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// Copying on behalf of a guest that is about to change the source.
extension BlockCopy: WriteHook {
    /// Longest piece in bytes that a guest's request copies at once.
    private static let guestChunk: UInt64 = 1 << 20
    /// Bytes that the buffers of all guests' requests may take together.
    static let guestMemoryLimit = 64 << 20

    func beforeChange(of range: Range<UInt64>) async throws(BlockError) {
        do {
            try await copyBeforeWrite(range)
        } catch {
            throw error.underlying
        }
    }

    /// Returns once the target holds what the clusters of `range` hold now, or needs it not.
    ///
    /// Waits for whoever copies part of it already. On an error the clusters that are not done are owed again.
    func copyBeforeWrite(_ range: Range<UInt64>) async throws(CopyError) {
        let start = range.lowerBound.alignedDown(to: clusterSize.bytes)
        let end = min(range.upperBound.alignedUp(to: clusterSize.bytes) ?? length, length)
        guard start < end else { return }
        let limit = chunkLength(atMost: Self.guestChunk)
        guard enterGuest() else { return await waitForOverlapping(start..<end) }
        defer { leaveGuest() }
        while let request = await takeForGuest(start..<end, limit: limit) {
            guard let request = await skippingUnallocated(request) else { continue }
            // A guest's piece is no longer than `limit`, which has an upper bound: it fits an Int.
            let size = Int(max(request.range.upperBound - request.range.lowerBound, clusterSize.bytes))
            await guestMemory.acquire(size)
            defer { guestMemory.release(size) }
            var buffer = AlignedBuffer(count: size)
            chargeGuest(try await copy(request, through: &buffer, holdsOthers: false))
        }
    }

    /// Where the scan had not yet said what the top layer holds, asks for the cluster at hand.
    ///
    /// - Returns: the request; `nil` where it need not be copied and is over.
    private func skippingUnallocated(_ request: consuming CopyRequest) async -> CopyRequest? {
        guard request.mayBeUnallocated else { return request }
        var scan = AllocationScan(source: source, clusterSize: clusterSize.bytes, from: request.range.lowerBound)
        var step: AllocationScan.Step?
        repeat { step = try? await scan.step() } while step == .unknown
        // What is not known to be unallocated is copied.
        guard case .unallocated(let range) = step else { return request }
        // May reach beyond the request, and holds there too.
        skip(range, andEnd: request)
        return nil
    }
}
