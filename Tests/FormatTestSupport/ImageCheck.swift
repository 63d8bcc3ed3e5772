// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO

/// Counts who uses which cluster of a closed image, and compares that with the refcounts: no leaks, no errors.
///
/// Written without the library's own decoding, for images without snapshots.
package struct ImageCheck {
    private let bytes: [UInt8]
    private let clusterBits: UInt64
    private let allowsLeaks: Bool
    private var uses: [UInt64: UInt64] = [:]
    /// Clusters that entries call their own.
    private var owned: [UInt64: Bool] = [:]
    private var lastChunk: (UInt64, Bool) = (.max, false)
    package private(set) var problems: [String] = []
    /// Clusters that have a refcount and no user: what a crash may leave.
    package private(set) var leakedClusters = 0

    /// - Parameter allowsLeaks: whether clusters without a user are counted apart.
    package init(_ bytes: [UInt8], allowsLeaks: Bool = false) {
        self.bytes = bytes
        self.allowsLeaks = allowsLeaks
        guard bytes.count >= 512, let bits: UInt32 = try? bytes.span.bytes.bigEndian(at: 20) else {
            clusterBits = 9
            problems = ["too short"]
            return
        }
        clusterBits = UInt64(bits)
        use(0, count: 1)
        let version = word32(4)
        let features = version >= 3 ? word(72) : 0
        let hasDataFile = features & 4 != 0
        let entryLength: UInt64 = features & 16 != 0 ? 16 : 8
        countMapping(entryLength: entryLength, hasDataFile: hasDataFile)
        if version >= 3, word(88) & 1 == 1 { countBitmaps() }
        compareRefcounts(width: version >= 3 ? 1 << word32(96) : 16)
    }

    private func word(_ offset: UInt64) -> UInt64 {
        guard let value: UInt64 = try? bytes.span.bytes.bigEndian(at: Int(offset)) else { return 0 }
        return value
    }

    private func word32(_ offset: UInt64) -> UInt64 { word(offset) >> 32 }

    /// Whether the 4 KiB around an offset are all zeroes: large tables mostly are.
    private mutating func isZeroChunk(_ offset: UInt64) -> Bool {
        guard clusterBits >= 12 else { return false }
        let chunk = offset >> 12
        if lastChunk.0 != chunk {
            let start = Int(chunk << 12)
            guard start + 4096 <= bytes.count else { return false }
            lastChunk = (chunk, bytes.span.bytes.extracting(start..<start + 4096).isZero)
        }
        return lastChunk.1
    }

    private mutating func use(_ offset: UInt64, count: UInt64) {
        for cluster in offset >> clusterBits..<(offset >> clusterBits) + count { uses[cluster, default: 0] += 1 }
    }

    private mutating func countMapping(entryLength: UInt64, hasDataFile: Bool) {
        let cluster = UInt64(1) << clusterBits
        let mask: UInt64 = 0x00ff_ffff_ffff_fe00
        let (l1, l1Count) = (word(40), word32(36))
        use(l1, count: max((l1Count * 8 + cluster - 1) >> clusterBits, 1))
        for index in 0..<l1Count {
            let entry = word(l1 + index * 8)
            guard entry & mask != 0 else { continue }
            let table = entry & mask
            use(table, count: 1)
            owned[table >> clusterBits] = entry >> 63 == 1
            if table + cluster > UInt64(bytes.count) { problems.append("L2 table at \(table) past the end") }
            for offset in stride(from: table, to: table + cluster, by: Int(entryLength)) where !isZeroChunk(offset) {
                let entry = word(offset)
                if entry >> 62 & 1 == 1 {
                    let bits = 62 - (clusterBits - 8)
                    let start = entry & ((1 << bits) - 1)
                    let sectors = (entry & ((1 << 62) - 1)) >> bits + 1
                    let last = (start / 512 + sectors) * 512 - 1
                    use(start, count: last >> clusterBits - start >> clusterBits + 1)
                } else if entry & mask != 0, !hasDataFile {
                    use(entry & mask, count: 1)
                    owned[(entry & mask) >> clusterBits] = entry >> 63 == 1
                }
            }
        }
    }

    private mutating func countBitmaps() {
        let cluster = UInt64(1) << clusterBits
        var position = word32(100)
        while word32(position) != 0x2385_2875 {
            guard word32(position) != 0 else {
                problems.append("the bitmaps bit is set and there is no extension")
                return
            }
            position += 8 + (word32(position + 4) + 7) / 8 * 8
        }
        let (count, length, directory) = (word32(position + 8), word(position + 16), word(position + 24))
        use(directory, count: (length + cluster - 1) >> clusterBits)
        var entry = directory
        for _ in 0..<count {
            let (table, size) = (word(entry), word32(entry + 8))
            use(table, count: (size * 8 + cluster - 1) >> clusterBits)
            for index in 0..<size where word(table + index * 8) > 1 {
                let bits = word(table + index * 8)
                use(bits, count: 1)
                if bits + cluster > UInt64(bytes.count) { problems.append("bitmap bits at \(bits) past the end") }
            }
            let names = word32(entry + 16) & 0xffff
            entry += (24 + word32(entry + 20) + names + 7) / 8 * 8
        }
        if entry != directory + length { problems.append("bitmap directory of \(length) bytes") }
    }

    private mutating func compareRefcounts(width: UInt64) {
        let cluster = UInt64(1) << clusterBits
        let (table, tableClusters) = (word(48), word32(56))
        use(table, count: tableClusters)
        var blocks = [UInt64](repeating: 0, count: Int(tableClusters * cluster / 8))
        // By chunks: a table has room for many more blocks than there are.
        let chunk = min(cluster, 4096) / 8
        for first in stride(from: 0, to: UInt64(blocks.count), by: Int(chunk)) where !isZeroChunk(table + first * 8) {
            for index in first..<first + chunk { blocks[Int(index)] = word(table + index * 8) }
        }
        for block in blocks where block != 0 {
            use(block, count: 1)
            if block + cluster > UInt64(bytes.count) { problems.append("refcount block at \(block) past the end") }
        }
        let perBlock = cluster * 8 / width
        let fileClusters = UInt64(bytes.count) >> clusterBits + 8
        for index in blocks.indices where blocks[index] != 0 || UInt64(index) * perBlock <= fileClusters {
            let block = blocks[index]
            for inside in 0..<perBlock {
                let number = UInt64(index) * perBlock + inside
                if block != 0, number > fileClusters {
                    let rest = Int(block + inside * width / 8)..<min(Int(block + cluster), bytes.count)
                    if !bytes.span.bytes.extracting(rest).isZero { problems.append("refcounts behind the file") }
                    break
                }
                let count = block == 0 ? 0 : refcount(in: block, at: inside, width: width)
                let used = uses[number, default: 0]
                if count > 0, used == 0, allowsLeaks {
                    leakedClusters += 1
                } else if count != used {
                    problems.append("cluster \(number): refcount \(count), \(used) uses")
                }
                if let isOwned = owned[number], isOwned != (count == 1) {
                    problems.append("cluster \(number): copied flag")
                }
                if block == 0, inside >= UInt64(bytes.count) >> clusterBits { break }
            }
        }
        let covered = UInt64(blocks.count) * perBlock
        for number in uses.keys where number >= covered { problems.append("cluster \(number) has no refcount") }
    }

    private func refcount(in block: UInt64, at index: UInt64, width: UInt64) -> UInt64 {
        let bit = index * width
        if width < 8 {
            return UInt64(bytes[Int(block + bit / 8)]) >> (bit % 8) & ((1 << width) - 1)
        }
        return (0..<width / 8).reduce(0) { $0 << 8 | UInt64(bytes[Int(block + bit / 8 + $1)]) }
    }
}
