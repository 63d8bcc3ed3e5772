// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO

/// Goes through a disk from front to back and says of each run which layer determines it, and how it is stored.
///
/// Neighbours that go on alike are one run, however the layers' tables cut them up.
struct MapWalker {
    private let layers: [MapLayer]
    private var position: UInt64
    private let end: UInt64
    /// The last run, which may go on.
    private var pending: MapEntry?

    /// - Parameters:
    ///   - layers: top first, at least one.
    ///   - range: of the disk, in bytes; what lies behind its end is left out.
    init(_ layers: [MapLayer], range: Range<UInt64>) {
        self.layers = layers
        end = min(range.upperBound, layers[0].length)
        position = min(range.lowerBound, end)
    }

    /// The next run; `nil` at the end.
    mutating func next() async throws(BlockError) -> MapEntry? {
        while position < end {
            let entry = try await entry(at: position, length: end - position)
            position += entry.length
            if pending == nil {
                pending = entry
            } else if pending?.absorb(entry) == false {
                let done = pending
                pending = entry
                return done
            }
        }
        defer { pending = nil }
        return pending
    }

    private func entry(at position: UInt64, length: UInt64) async throws(BlockError) -> MapEntry {
        var depth = 0
        var length = length
        while true {
            var entry = try await layers[depth].entry(at: position, length: length)
            entry.depth = depth
            if entry.isPresent { return entry }
            length = entry.length
            // Past the end of what lies behind a layer, the layer itself reads as zeroes.
            guard depth + 1 < layers.count, position < layers[depth + 1].length else {
                entry.isZero = true
                return entry
            }
            depth += 1
            length = min(length, layers[depth].length - position)
        }
    }
}
