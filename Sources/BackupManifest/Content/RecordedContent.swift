// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import BlockIO
import DirtyBitmaps

/// What was written to a backup, as its manifest tells it.
package struct RecordedContent: Sendable {
    let geometry: ContentGeometry
    /// The units that the backup holds; `nil` where it holds the whole disk.
    let layer: DirtyBitmap?
    /// The ranges that aren't all zero.
    let data: DirtyBitmap
    /// Their digests, but for those that are in the scratch file alone.
    let table: DigestTable
    let scratch: DigestScratch?

    var algorithm: DigestAlgorithm { table.algorithm }

    /// Number of ranges that aren't all zero.
    package var dataRangeCount: UInt64 { data.dirtyGranules }

    /// What the header of the manifest says of it.
    package struct Summary: Sendable {
        let virtualSize: UInt64
        let isWhole: Bool
        let algorithm: DigestAlgorithm
        /// Root digest.
        package let root: Digest
        /// Bytes of the manifest's body.
        let bodyLength: UInt64
    }

    package func summary() async throws(BlockError) -> Summary {
        var root = ContentDigests.rootStream(
            algorithm, virtualSize: geometry.virtualSize, isWhole: layer == nil)
        var length: UInt64 = 0
        try await encode { (bytes) async throws(BlockError) in
            root.add(bytes.span.bytes)
            length += UInt64(bytes.count)
        }
        return Summary(
            virtualSize: geometry.virtualSize, isWhole: layer == nil, algorithm: algorithm, root: root.digest(),
            bodyLength: length)
    }

    /// Passes the manifest's body on, in pieces.
    func encode(to sink: ([UInt8]) async throws(BlockError) -> Void) async throws(BlockError) {
        var output: [UInt8] = []
        if let layer {
            var areas = AreaList(layer)
            while let (gap, units) = areas.next() {
                output.appendVariable(gap)
                output.appendVariable(units.upperBound - units.lowerBound)
                if output.count >= Self.pieceLength { try await Self.pass(&output, to: sink) }
            }
            output += [0, 0]
        }
        var areas = AreaList(data)
        var pages = PageReader(self)
        while let (gap, ranges) = areas.next() {
            output.appendVariable(gap)
            output.appendVariable(ranges.upperBound - ranges.lowerBound)
            var range = ranges.lowerBound
            while range < ranges.upperBound {
                let end = min((range / DigestTable.pageLength + 1) * DigestTable.pageLength, ranges.upperBound)
                output += try await pages.digests(of: range..<end)
                range = end
                if output.count >= Self.pieceLength { try await Self.pass(&output, to: sink) }
            }
        }
        output += [0, 0]
        try await Self.pass(&output, to: sink)
    }

    private static func pass(
        _ output: inout [UInt8], to sink: ([UInt8]) async throws(BlockError) -> Void
    ) async throws(BlockError) {
        try await sink(output)
        output.removeAll(keepingCapacity: true)
    }

    private static let pieceLength = 256 << 10
}

/// The dirty areas of a bitmap in order, as granules.
private struct AreaList {
    private let bitmap: DirtyBitmap
    private var position: UInt64 = 0
    private var end: UInt64 = 0

    init(_ bitmap: DirtyBitmap) {
        self.bitmap = bitmap
    }

    /// The next area, with the number of granules between the last one and it.
    mutating func next() -> (gap: UInt64, granules: Range<UInt64>)? {
        guard let area = bitmap.nextDirtyArea(from: position) else { return nil }
        let granules =
            area.lowerBound / bitmap.granularity..<area.upperBound.dividedRoundingUp(by: bitmap.granularity)
        defer { (position, end) = (area.upperBound, granules.upperBound) }
        return (granules.lowerBound - end, granules)
    }
}

/// Reads digests in order, each page once.
private struct PageReader {
    private let content: RecordedContent
    private var number: UInt64?
    private var bytes: [UInt8] = []

    init(_ content: RecordedContent) {
        self.content = content
    }

    /// The digests of ranges of one page, which all have one.
    mutating func digests(of ranges: Range<UInt64>) async throws(BlockError) -> ArraySlice<UInt8> {
        let page = ranges.lowerBound / DigestTable.pageLength
        let length = content.algorithm.length
        if number != page {
            bytes =
                try await content.scratch?.read(page)
                ?? [UInt8](repeating: 0, count: Int(DigestTable.pageLength) * length)
            // What is in memory is newer.
            content.table[page: page]?.forEach(length) { index, digest in
                bytes.replaceSubrange(index * length..<(index + 1) * length, with: digest)
            }
            number = page
        }
        // Inside a page, so they fit.
        let first = Int(ranges.lowerBound - page * DigestTable.pageLength)
        return bytes[first * length..<(first + Int(ranges.upperBound - ranges.lowerBound)) * length]
    }
}

extension [UInt8] {
    fileprivate mutating func appendVariable(_ value: UInt64) {
        var rest = value
        while rest > 0x7f {
            append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        append(UInt8(rest))
    }
}
