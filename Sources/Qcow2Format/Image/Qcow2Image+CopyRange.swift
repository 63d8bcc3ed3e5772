// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

extension Qcow2Image {
    package func copyRange(
        from source: StorageLocation, to offset: UInt64, length: UInt64
    ) async throws(BlockError) -> RangeCopy {
        try checkWrite(at: offset, length: length)
        let clusterLength = geometry.clusterLength
        // A last cluster may be cut short by the disk's end.
        guard offset.isAligned(to: clusterLength),
            length.isAligned(to: clusterLength) || offset + length == self.length
        else { throw .unsupported(operation: "copy offload of parts of clusters", device: name) }
        return try await writes.withLock(clusters(at: offset, length: length)) { () async throws(BlockError) in
            var way = RangeCopy.shared
            var done: UInt64 = 0
            while done < length {
                let start = offset + done
                let place = try await metadata.changes.withLock { () async throws(BlockError) in
                    try await placeWrite(at: start, length: length - done)
                }
                let from = StorageLocation(device: source.device, offset: source.offset + done)
                do throws(BlockError) {
                    if try await storage.copyRange(from: from, to: place.host.bytes, length: place.length) == .copied {
                        way = .copied
                    }
                    // Behind the disk's end, where a disk that is enlarged later must show zeroes.
                    try await fill(start + place.length..<place.filled.upperBound, placed: place.host, of: start)
                } catch {
                    try await abandon(place)
                    throw error
                }
                if place.needsEntries {
                    try await metadata.changes.withLock { () async throws(BlockError) in
                        try await link(place, at: start)
                    }
                }
                done += place.length
            }
            return way
        }
    }
}
