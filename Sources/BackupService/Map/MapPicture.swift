// SPDX-License-Identifier: GPL-2.0-or-later

import BinaryCoding
import DiskChain
import Qcow2Format

/// A picture of a disk and its chain, as numbers: how many bytes of each cell are stored in which way.
///
/// The disk is cut into cells of equal length, counted through all bands. In every layer, and in what the chain shows, a
/// cell says how much of it is what. Whoever draws chooses signs and colours.
package struct MapPicture: Sendable, Equatable {
    /// How bytes are stored in a layer.
    package enum State: Int, Sendable, CaseIterable {
        case data, compressed, zero
        /// Left to the layer behind, or zero where there is none.
        case unallocated
        /// Behind the end of the layer.
        case absent
    }

    package struct Layer: Sendable, Equatable {
        package var path: String
        package var format: ImageFormat
        /// Bytes of its disk.
        package var length: UInt64
        /// Bytes by state of each cell.
        package internal(set) var cells: [[UInt64]] = []
        /// Bytes by state of all cells.
        package internal(set) var totals = [UInt64](repeating: 0, count: State.allCases.count)

        package init(path: String, format: ImageFormat, length: UInt64) {
            self.path = path
            self.format = format
            self.length = length
        }
    }

    /// Bytes of the disk.
    package let length: UInt64
    package let bands: Int
    /// Cells of a band.
    package let columns: Int
    /// The top one first.
    package internal(set) var layers: [Layer]
    /// Bytes of each cell that each layer determines; what none does is left out.
    package internal(set) var shown: [[UInt64]]
    /// Name of the bitmap that is shown.
    package var bitmap: String?
    /// Dirty bytes of each cell.
    package internal(set) var dirty: [UInt64]

    /// A picture without content; a disk without bytes has no cells.
    package init(length: UInt64, bands: Int, columns: Int, layers: [Layer]) {
        precondition(bands > 0 && columns > 0 && bands <= 1 << 12 && columns <= 1 << 12)
        self.length = length
        // No cell without a byte.
        let isTiny = length < UInt64(bands * columns)
        self.bands = isTiny ? 1 : bands
        self.columns = isTiny ? min(columns, Int(min(length, UInt64(columns)))) : columns
        let count = self.bands * self.columns
        self.layers = layers
        shown = Array(repeating: Array(repeating: 0, count: layers.count), count: count)
        dirty = Array(repeating: 0, count: count)
        for index in layers.indices {
            self.layers[index].cells = Array(
                repeating: Array(repeating: 0, count: State.allCases.count), count: count)
            if layers[index].length < length {
                add(layers[index].length..<length) { $0.add($1, .absent, to: $2, index) }
            }
        }
    }

    package var cellCount: Int { bands * columns }

    /// The bytes of a cell.
    package func range(ofCell cell: Int) -> Range<UInt64> { border(cell)..<border(cell + 1) }

    /// First byte of a cell: the disk's length in `cellCount` parts.
    private func border(_ cell: Int) -> UInt64 {
        let count = UInt64(cellCount)
        // The quotient is at most the length, because a cell's number is at most their count.
        return count.dividingFullWidth(length.multipliedFullWidth(by: UInt64(cell))).quotient
    }

    /// The cell of a byte of the disk.
    private func cell(of offset: UInt64) -> Int {
        let count = UInt64(cellCount)
        var cell = Int(length.dividingFullWidth(offset.multipliedFullWidth(by: count)).quotient)
        // Borders are rounded down, so the byte may lie in the next one.
        while cell + 1 < cellCount, border(cell + 1) <= offset { cell += 1 }
        return cell
    }

    private mutating func add(_ range: Range<UInt64>, _ body: (inout MapPicture, UInt64, Int) -> Void) {
        let end = min(range.upperBound, length)
        guard range.lowerBound < end, cellCount > 0 else { return }
        var position = range.lowerBound
        var cell = cell(of: position)
        while position < end {
            let next = min(border(cell + 1), end)
            if next > position { body(&self, next - position, cell) }
            position = next
            cell += 1
        }
    }

    private mutating func add(_ bytes: UInt64, _ state: State, to cell: Int, _ layer: Int) {
        layers[layer].cells[cell][state.rawValue] += bytes
        layers[layer].totals[state.rawValue] += bytes
    }

    /// Adds what a layer by itself says.
    mutating func add(_ entry: MapEntry, ofLayer layer: Int) {
        let state: State =
            if !entry.isPresent {
                .unallocated
            } else if entry.isZero {
                .zero
            } else {
                entry.isCompressed ? .compressed : .data
            }
        add(entry.start..<entry.end) { $0.add($1, state, to: $2, layer) }
    }

    /// Adds what the chain as a whole says.
    mutating func addShown(_ entry: MapEntry) {
        guard entry.isPresent else { return }
        add(entry.start..<entry.end) { picture, bytes, cell in picture.shown[cell][entry.depth] += bytes }
    }

    mutating func addDirty(_ range: Range<UInt64>) {
        add(range) { picture, bytes, cell in picture.dirty[cell] += bytes }
    }
}

extension MapPicture {
    /// What a cell of a layer is, for a sign or a colour.
    package struct Look: Sendable, Hashable {
        /// What takes most of the cell, but for the rule that data is never hidden.
        package var state: State
        /// Whether other states take more of it than this one.
        package var isPart: Bool
    }

    /// How to draw a cell of a layer: what takes most of it, or the data in it however little that is.
    package func look(ofCell cell: Int, layer: Int) -> Look {
        let bytes = layers[layer].cells[cell]
        let most = State.allCases.max { bytes[$0.rawValue] < bytes[$1.rawValue] } ?? .absent
        if most == .data || most == .compressed { return Look(state: most, isPart: false) }
        let stored: State = bytes[State.data.rawValue] >= bytes[State.compressed.rawValue] ? .data : .compressed
        if bytes[stored.rawValue] > 0 { return Look(state: stored, isPart: true) }
        // Zeroes hide what lies behind, so they count more than nothing at all.
        if most != .zero, bytes[State.zero.rawValue] > 0 { return Look(state: .zero, isPart: true) }
        return Look(state: most, isPart: false)
    }

    /// The layer that determines most of a cell; `nil` where none has any of it.
    package func layerShown(inCell cell: Int) -> Int? {
        let best = shown[cell].indices.max { shown[cell][$0] < shown[cell][$1] }
        return best.flatMap { shown[cell][$0] > 0 ? $0 : nil }
    }
}
