// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// Content of a disk of any size, of which only the pages that were written take memory. Copies share pages.
package struct SparseBytes: Sendable, Equatable {
    private static let pageLength = 64 << 10

    /// Length in bytes.
    package private(set) var length: UInt64
    /// Only pages with a byte other than zero need to be here; a page always has its full length.
    private var pages: [UInt64: [UInt8]] = [:]

    package init(length: UInt64) {
        self.length = length
    }

    package init(_ bytes: [UInt8]) {
        length = UInt64(bytes.count)
        write(bytes.span.bytes, at: 0)
    }

    /// Fills the buffer; the range must lie inside `length`.
    package func read(at offset: UInt64, into buffer: inout MutableRawSpan) {
        var done = 0
        let total = buffer.byteCount
        while done < total {
            let (page, start, count) = piece(at: offset + UInt64(done), upTo: total - done)
            if let bytes = pages[page] {
                buffer.copy(bytes.span.bytes.extracting(start..<start + count), at: done)
            } else {
                var part = buffer.slice(done..<done + count)
                part.clear()
            }
            done += count
        }
    }

    /// The bytes of a range inside `length`.
    package func bytes(at offset: UInt64, count: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        var span = bytes.mutableSpan
        var raw = span.mutableBytes
        read(at: offset, into: &raw)
        return bytes
    }

    /// Everything, for small disks.
    package var allBytes: [UInt8] { bytes(at: 0, count: Int(length)) }

    /// Replaces bytes; the range must lie inside `length`.
    package mutating func write(_ source: RawSpan, at offset: UInt64) {
        precondition(offset <= length && UInt64(source.byteCount) <= length - offset)
        var done = 0
        while done < source.byteCount {
            let (page, start, count) = piece(at: offset + UInt64(done), upTo: source.byteCount - done)
            let part = source.extracting(done..<done + count)
            part.withUnsafeBytes { part in
                pages[page, default: [UInt8](repeating: 0, count: Self.pageLength)]
                    .replaceSubrange(start..<start + count, with: part)
            }
            done += count
        }
    }

    /// Makes a range inside `length` zero.
    package mutating func zero(_ range: Range<UInt64>) {
        precondition(range.upperBound <= length)
        // By pages held, not by pages of the range: the range may be many terabytes.
        for (page, bytes) in pages {
            let pageStart = page * UInt64(Self.pageLength)
            let hit = range.clamped(to: pageStart..<pageStart + UInt64(Self.pageLength))
            if hit.isEmpty { continue }
            if hit.count == Self.pageLength {
                pages[page] = nil
            } else {
                var bytes = bytes
                var span = bytes.mutableSpan
                var raw = span.mutableBytes
                var part = raw.slice(Int(hit.lowerBound - pageStart)..<Int(hit.upperBound - pageStart))
                part.clear()
                pages[page] = bytes
            }
        }
    }

    /// Cuts off the end or adds zeroes.
    package mutating func resize(to newLength: UInt64) {
        if newLength < length { zero(newLength..<length) }
        length = newLength
    }

    package static func == (one: SparseBytes, other: SparseBytes) -> Bool {
        guard one.length == other.length else { return false }
        let blank = [UInt8](repeating: 0, count: pageLength)
        return Set(one.pages.keys).union(other.pages.keys).allSatisfy {
            haveSameBytes(one.pages[$0] ?? blank, other.pages[$0] ?? blank)
        }
    }

    /// First byte at which two contents of equal length differ, for messages of failed tests.
    package func firstDifference(from other: SparseBytes) -> UInt64? {
        let blank = [UInt8](repeating: 0, count: Self.pageLength)
        for page in Set(pages.keys).union(other.pages.keys).sorted() {
            let (mine, others) = (pages[page] ?? blank, other.pages[page] ?? blank)
            if let index = mine.indices.first(where: { mine[$0] != others[$0] }) {
                return page * UInt64(Self.pageLength) + UInt64(index)
            }
        }
        return nil
    }

    private func piece(at offset: UInt64, upTo limit: Int) -> (page: UInt64, start: Int, count: Int) {
        let start = Int(offset % UInt64(Self.pageLength))
        return (offset / UInt64(Self.pageLength), start, min(limit, Self.pageLength - start))
    }
}
