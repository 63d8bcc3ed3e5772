// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// Room for digests outside memory: blocks, one for each page of a table, in a file that is written from its beginning.
final class DigestScratch: Sendable {
    private let device: any Storage
    private let digestLength: Int
    /// Numbers of the blocks of pages.
    private let blocks = Locked<[UInt64: UInt64]>([:])

    private var blockLength: Int { Int(DigestTable.pageLength) * digestLength }

    init(_ device: any Storage, _ algorithm: DigestAlgorithm) {
        self.device = device
        digestLength = algorithm.length
    }

    /// Bytes of the file that are in use.
    var length: UInt64 { blocks.withLock { UInt64($0.count) } * UInt64(blockLength) }

    /// Writes pages, over what was known of the same ranges. One call at a time.
    func write(_ pages: [UInt64: DigestTable.Page]) async throws(BlockError) {
        let known = blocks.withLock { $0 }
        // Old blocks before new ones: where one fails, nothing of it counts but what stands in whole.
        for (number, page) in pages where known[number] != nil {
            guard let block = known[number], var bytes = try await read(number) else { continue }
            fill(&bytes, at: 0, with: page)
            try await device.write(at: block * UInt64(blockLength), from: bytes.span.bytes)
        }
        let new = pages.keys.filter { known[$0] == nil }.sorted()
        guard !new.isEmpty else { return }
        var bytes = [UInt8](repeating: 0, count: new.count * blockLength)
        for (index, number) in new.enumerated() {
            if let page = pages[number] { fill(&bytes, at: index * blockLength, with: page) }
        }
        let start = UInt64(known.count)
        let end = (start + UInt64(new.count)) * UInt64(blockLength)
        if device.length < end { try await device.resize(to: end) }
        try await device.write(at: start * UInt64(blockLength), from: bytes.span.bytes)
        blocks.withLock { blocks in
            for (index, number) in new.enumerated() { blocks[number] = start + UInt64(index) }
        }
    }

    private func fill(_ bytes: inout [UInt8], at start: Int, with page: DigestTable.Page) {
        page.forEach(digestLength) { index, digest in
            let place = start + index * digestLength
            bytes.replaceSubrange(place..<place + digestLength, with: digest)
        }
    }

    /// The digests of all ranges of a page, end to end, with anything where there are none; `nil` where none was written.
    func read(_ page: UInt64) async throws(BlockError) -> [UInt8]? {
        guard let block = blocks.withLock({ $0[page] }) else { return nil }
        return try await device.contents(at: block * UInt64(blockLength), count: blockLength)
    }
}
