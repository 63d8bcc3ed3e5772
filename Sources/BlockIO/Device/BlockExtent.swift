// SPDX-License-Identifier: GPL-2.0-or-later

/// How far down the backing chain a block status query looks.
public enum BlockStatusScope: Sendable {
    /// Only the device itself: what it leaves to its backing file is unallocated.
    case topLayer
    /// The device and everything behind it.
    case chain
}

/// Where bytes are stored, below all image formats.
public struct StorageLocation: Sendable, Equatable {
    public let device: any StorageDevice
    /// Byte offset in `device`.
    public let offset: UInt64

    public init(device: any StorageDevice, offset: UInt64) {
        self.device = device
        self.offset = offset
    }

    public static func == (one: StorageLocation, other: StorageLocation) -> Bool {
        one.device === other.device && one.offset == other.offset
    }
}

/// How a range came to another place without moving through this process.
public enum RangeCopy: Sendable {
    /// Both places are the same blocks of the storage: what one of them holds the other one holds.
    case shared
    /// It was read and written, by the kernel or by a server.
    case copied
}

/// What is known about a range of a disk without reading it.
public struct BlockExtent: Sendable, Equatable {
    /// Length in bytes, never 0.
    public var length: UInt64
    /// Whether a layer within the scope of the query determines the content.
    public var isAllocated: Bool
    /// Whether the range reads as zeroes for certain.
    public var readsAsZero: Bool
    /// Layer that determines the content: 0 is the device asked, 1 its backing file, and so on. Where no layer does,
    /// the depth of the last one looked at.
    public var depth: Int
    public var isCompressed: Bool
    /// Where the first byte is stored, if it is stored, as it is, in one place.
    public var location: StorageLocation?

    public init(
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
}
