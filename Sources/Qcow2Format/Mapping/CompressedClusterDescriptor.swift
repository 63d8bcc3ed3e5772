// SPDX-License-Identifier: GPL-2.0-or-later

/// Where a compressed cluster is stored: at any byte, up to the end of a sector.
///
/// Spec: “Compressed Clusters Descriptor”.
struct CompressedClusterDescriptor: Sendable, Hashable {
    private static let sectorLength: UInt64 = 512

    /// First byte.
    let offset: HostOffset
    /// Bytes up to the end of the last sector; the data may end before.
    let length: UInt64

    /// - Parameter entry: an L2 entry with the compressed flag.
    init(_ entry: L2Entry, clusterBits: Int) {
        let offsetBits = Self.offsetBits(clusterBits: clusterBits)
        let start = entry.rawValue & (1 << offsetBits - 1)
        let furtherSectors = (entry.rawValue & (1 << 62 - 1)) >> offsetBits
        offset = HostOffset(start)
        length = (furtherSectors + 1) * Self.sectorLength - start % Self.sectorLength
    }

    /// - Parameter storedLength: bytes of compressed data, at least 1.
    init(offset: HostOffset, storedLength: UInt64) {
        self.offset = offset
        let end = (offset.bytes + storedLength + Self.sectorLength - 1) / Self.sectorLength * Self.sectorLength
        length = end - offset.bytes
    }

    /// What of it a file of that length can hold; `nil` where it begins behind the end.
    ///
    /// Writers may record more sectors than they stored, and readers need none of the others.
    func clipped(toFileLength fileLength: UInt64) -> Self? {
        guard offset.bytes < fileLength else { return nil }
        // File lengths are below 2^63.
        let stored = fileLength - offset.bytes
        return stored < length ? Self(offset: offset, storedLength: stored) : self
    }

    /// Bits 0 to 61 of the L2 entry.
    func encoded(clusterBits: Int) -> UInt64 {
        let sectors = (offset.bytes + length - offset.bytes / Self.sectorLength * Self.sectorLength) / Self.sectorLength
        return offset.bytes | (sectors - 1) << Self.offsetBits(clusterBits: clusterBits)
    }

    /// Where stored bytes must end, so that the offset field can hold it.
    static func offsetLimit(clusterBits: Int) -> UInt64 {
        1 << min(offsetBits(clusterBits: clusterBits), 56)
    }

    private static func offsetBits(clusterBits: Int) -> UInt64 {
        UInt64(62 - (clusterBits - 8))
    }
}
