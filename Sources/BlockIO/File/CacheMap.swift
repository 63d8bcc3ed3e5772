// SPDX-License-Identifier: GPL-2.0-or-later

/// Which parts of a file were in the page cache before it was read.
///
/// A read from the cache can make the kernel read ahead, into the cache. Whoever then took what lies there for cached
/// would go on that way to the end of the file. So each region is looked at before what lies before it is read, and what was found
/// counts as long as there is room for it.
struct CacheMap {
    /// Bytes that are looked at together, and how finely.
    static let regionLength: UInt64 = 32 << 20
    static let blockLength: UInt64 = 512 << 10
    private static let capacity = 1024

    /// One bit for each block of a region.
    struct Blocks {
        /// Most of the block was in the cache.
        var cached: UInt64
        /// A part of it was, and not most: in a sparse file that may be all that it holds.
        var mixed: UInt64

        static let nothing = Blocks(cached: 0, mixed: 0)
        static let everything = Blocks(cached: .max, mixed: 0)
    }

    enum Status {
        case cached, notCached
        /// To be asked of each request.
        case mixed
    }

    private var regions: [UInt64: Blocks] = [:]

    func blocks(ofRegion index: UInt64) -> Blocks? {
        regions[index]
    }

    mutating func remember(_ blocks: Blocks, ofRegion index: UInt64) {
        if regions.count >= Self.capacity { regions.removeAll(keepingCapacity: true) }
        regions[index] = blocks
    }

    /// Where the block ends that holds a byte, or the last one behind it in its region that is like it.
    static func end(of blocks: Blocks, at offset: UInt64) -> (end: UInt64, status: Status) {
        let region = offset / regionLength
        let first = offset % regionLength / blockLength
        let (status, others): (Status, UInt64) =
            if blocks.cached >> first & 1 == 1 {
                (.cached, ~blocks.cached)
            } else if blocks.mixed >> first & 1 == 1 {
                (.mixed, ~blocks.mixed)
            } else {
                (.notCached, blocks.cached | blocks.mixed)
            }
        let count = min(UInt64((others >> first).trailingZeroBitCount), regionLength / blockLength - first)
        return (region * regionLength + (first + count) * blockLength, status)
    }
}
