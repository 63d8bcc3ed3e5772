// SPDX-License-Identifier: GPL-2.0-or-later

/// How far down the backing chain a block status query looks.
package enum BlockStatusScope: Sendable {
    /// Only the device itself: what it leaves to its backing file is unallocated.
    case topLayer
    /// The device and everything behind it.
    case chain
}

/// Where bytes are stored, below all image formats.
package struct StorageLocation: Sendable, Equatable {
    package let device: any Storage
    /// Byte offset in `device`.
    package let offset: UInt64

    package init(device: any Storage, offset: UInt64) {
        self.device = device
        self.offset = offset
    }

    package static func == (one: StorageLocation, other: StorageLocation) -> Bool {
        one.device === other.device && one.offset == other.offset
    }
}

/// How a range came to another place without moving through this process.
package enum RangeCopy: Sendable {
    /// Both places are the same blocks of the storage: what one of them holds the other one holds.
    case shared
    /// It was read and written, by the kernel or by a server.
    case copied
}

/// What is known about a range of a disk without reading it.
package struct BlockExtent: Sendable, Equatable {
    /// Length in bytes, never 0.
    package var length: UInt64
    /// Whether a layer within the scope of the query determines the content.
    package var isAllocated: Bool
    /// Whether the range reads as zeroes for certain.
    package var readsAsZero: Bool
    /// Layer that determines the content: 0 is the device asked, 1 its backing file, and so on. Where no layer does,
    /// the depth of the last one looked at.
    package var depth: Int
    package var isCompressed: Bool
    /// Where the first byte is stored, if it is stored, as it is, in one place.
    package var location: StorageLocation?

    package init(
        length: UInt64, isAllocated: Bool, readsAsZero: Bool, depth: Int = 0, isCompressed: Bool = false,
        location: StorageLocation? = nil
    ) {
        self.length = length
        self.isAllocated = isAllocated
        self.readsAsZero = readsAsZero
        self.depth = depth
        self.isCompressed = isCompressed
        self.location = location
    }

    /// What the extent says of the bytes from its byte `offset` on, at most `length` of them.
    package func part(from offset: UInt64, length: UInt64) -> BlockExtent {
        var part = self
        part.length = min(self.length - offset, length)
        part.location = location.map { StorageLocation(device: $0.device, offset: $0.offset + offset) }
        return part
    }
}
