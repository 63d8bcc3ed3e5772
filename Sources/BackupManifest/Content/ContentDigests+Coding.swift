// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import DirtyBitmaps

/// The binary part of a manifest. The same content has the same bytes.
///
/// Numbers are unsigned LEB128. First, for a backup that holds part of the disk only, the units that it holds, in order:
/// for each stretch the number of units left out before it, from the end of the last one on, and its length; then two
/// zeroes. Then the ranges that aren't all zero, likewise, each stretch followed by their digests; then two zeroes.
extension ContentDigests {
    /// Passes the bytes on, in pieces.
    func encode<Failure>(to sink: ([UInt8]) throws(Failure) -> Void) throws(Failure) {
        if let layer {
            var data: [UInt8] = []
            var (position, end): (UInt64, UInt64) = (0, 0)
            while let area = layer.nextDirtyArea(from: position) {
                let first = area.lowerBound / ContentGeometry.unitLength
                let next = area.upperBound.dividedRoundingUp(by: ContentGeometry.unitLength)
                data.appendVariable(first - end)
                data.appendVariable(next - first)
                (position, end) = (area.upperBound, next)
                if data.count >= Self.pieceLength {
                    try sink(data)
                    data.removeAll(keepingCapacity: true)
                }
            }
            try sink(data + [0, 0])
        }
        // Stretches come in parts, and are told as one.
        var pending: (ranges: Range<UInt64>, digests: [ArraySlice<UInt8>])?
        var end: UInt64 = 0
        func flush() throws(Failure) {
            guard let run = pending else { return }
            var data: [UInt8] = []
            data.appendVariable(run.ranges.lowerBound - end)
            data.appendVariable(run.ranges.upperBound - run.ranges.lowerBound)
            for part in run.digests { data += part }
            try sink(data)
            end = run.ranges.upperBound
        }
        try table.forEachRun { (ranges, digests) throws(Failure) in
            if let run = pending, run.ranges.upperBound == ranges.lowerBound {
                pending = (run.ranges.lowerBound..<ranges.upperBound, run.digests + [digests])
                return
            }
            try flush()
            pending = (ranges, [digests])
        }
        try flush()
        try sink([0, 0])
    }

    private static let pieceLength = 64 << 10

    /// - Returns: `nil` for anything that `encode` doesn't make for such a disk.
    init?(decoding bytes: RawSpan, algorithm: DigestAlgorithm, virtualSize: UInt64, isWhole: Bool) {
        let geometry = ContentGeometry(virtualSize: virtualSize)
        var reader = Reader(bytes: bytes)
        var layer: DirtyBitmap?
        if !isWhole {
            guard
                var bits = try? DirtyBitmap(length: virtualSize, granularity: ContentGeometry.unitLength)
            else { return nil }
            guard
                reader.readStretches(
                    count: geometry.unitCount,
                    { units, _ in
                        bits.set(
                            geometry.bytes(ofUnit: units.lowerBound)
                                .lowerBound..<geometry.bytes(ofUnit: units.upperBound - 1).upperBound)
                        return true
                    })
            else { return nil }
            layer = bits
        }
        var table = DigestTable(algorithm)
        let isComplete = reader.readStretches(count: geometry.rangeCount) { ranges, reader in
            for range in ranges {
                guard let digest = reader.read(algorithm.length) else { return false }
                if let layer, !layer.hasDirty(in: geometry.bytes(ofRange: range)) { return false }
                table[range] = digest
            }
            return true
        }
        guard isComplete, reader.isAtEnd else { return nil }
        self.init(geometry: geometry, layer: layer, table: table)
    }
}

/// Takes numbers and digests off bytes that may be anything.
private struct Reader: ~Escapable {
    private let bytes: RawSpan
    private var offset = 0

    @_lifetime(copy bytes)
    init(bytes: RawSpan) {
        self.bytes = bytes
    }

    var isAtEnd: Bool { offset == bytes.byteCount }

    mutating func read(_ count: Int) -> Digest? {
        guard bytes.byteCount - offset >= count else { return nil }
        defer { offset += count }
        return Digest(bytes: bytes.extracting(offset..<offset + count))
    }

    /// `nil` also for a number that is written longer than needed.
    private mutating func readVariable() -> UInt64? {
        var value: UInt64 = 0
        for shift in stride(from: 0, to: 64, by: 7) {
            guard offset < bytes.byteCount else { return nil }
            let byte = bytes.unsafeLoad(fromByteOffset: offset, as: UInt8.self)
            offset += 1
            let bits = UInt64(byte & 0x7f)
            guard (bits << UInt64(shift)) >> UInt64(shift) == bits else { return nil }
            value |= bits << UInt64(shift)
            if byte & 0x80 == 0 { return byte == 0 && shift > 0 ? nil : value }
        }
        return nil
    }

    /// Reads stretches of `count` things up to their end.
    ///
    /// - Parameter body: called with each; false ends it.
    /// - Returns: false where they overlap, touch, are not there, or `body` returns that.
    mutating func readStretches(count: UInt64, _ body: (Range<UInt64>, inout Reader) -> Bool) -> Bool {
        var end: UInt64 = 0
        while true {
            let isFirst = end == 0
            guard let gap = readVariable(), let length = readVariable() else { return false }
            if length == 0 { return gap == 0 }
            guard isFirst || gap > 0 else { return false }
            guard let first = end.adding(gap), let next = first.adding(length), next <= count else { return false }
            guard body(first..<next, &self) else { return false }
            end = next
        }
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
