// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService
import DiskChain
import Qcow2Format

/// The picture of a disk and its chain for a terminal of 80 columns.
struct MapPictureText: CustomStringConvertible {
    /// Cells of a row: the rest of the line is its label and a border.
    static let columns = 72

    private let picture: MapPicture

    init(_ picture: MapPicture) {
        self.picture = picture
    }

    var description: String {
        var lines = ["\(ByteSize(picture.length)) disk" + (picture.cellCount > 0 ? ", \(cellSize) to a column" : "")]
        for band in 0..<(picture.cellCount > 0 ? picture.bands : 0) {
            lines.append(contentsOf: rows(ofBand: band))
        }
        lines += ["", "layers:"] + picture.layers.indices.map(layerLine)
        lines += ["", "signs:"] + legend
        return lines.map { $0 + "\n" }.joined()
    }

    private var cellSize: String {
        let range = picture.range(ofCell: 0)
        return ByteSize(max(UInt64(range.count), 1)).description
    }

    // MARK: Rows

    private func rows(ofBand band: Int) -> [String] {
        let cells = band * picture.columns..<(band + 1) * picture.columns
        var lines = ["", "from \(ByteSize(picture.range(ofCell: cells.lowerBound).lowerBound))"]
        if picture.layers.count > 1 {
            lines.append(row("seen", cells.map { cell in picture.layerShown(inCell: cell).map(Self.digit) ?? "." }))
        }
        for layer in picture.layers.indices {
            lines.append(row(Self.label(layer), cells.map { Self.sign(picture.look(ofCell: $0, layer: layer)) }))
        }
        if picture.bitmap != nil {
            lines.append(
                row(
                    "dirt",
                    cells.map { cell in
                        let dirty = picture.dirty[cell]
                        if dirty == 0 { return "." }
                        return dirty > UInt64(picture.range(ofCell: cell).count) / 2 ? "D" : "d"
                    }))
        }
        return lines
    }

    private func row(_ label: String, _ signs: [Character]) -> String {
        String(repeating: " ", count: max(0, 4 - label.count)) + label + " |" + String(signs) + "|"
    }

    private static func label(_ layer: Int) -> String { "\(layer)" }

    /// The number of a layer as one sign: 0 to 9, a to z, and + for all behind.
    private static func digit(_ layer: Int) -> Character {
        let digits = Array("0123456789abcdefghijklmnopqrstuvwxyz")
        return layer < digits.count ? digits[layer] : "+"
    }

    private static func sign(_ look: MapPicture.Look) -> Character {
        switch (look.state, look.isPart) {
        case (.data, false): "#"
        case (.data, true): "+"
        case (.compressed, false): "C"
        case (.compressed, true): "c"
        case (.zero, false): "0"
        case (.zero, true): "o"
        case (.unallocated, _): "."
        case (.absent, _): " "
        }
    }

    // MARK: Legend

    private func layerLine(_ index: Int) -> String {
        let layer = picture.layers[index]
        let parts = MapPicture.State.allCases.compactMap { state -> String? in
            let bytes = layer.totals[state.rawValue]
            guard bytes > 0, state != .absent else { return nil }
            return "\(ByteSize(bytes)) \(Self.name(state))"
        }
        let label = String(repeating: " ", count: max(0, 4 - Self.label(index).count)) + Self.label(index)
        return "\(label)  \(printable(layer.path)) (\(layer.format.rawValue))"
            + (parts.isEmpty ? "" : ": " + parts.joined(separator: ", "))
    }

    static func name(_ state: MapPicture.State) -> String {
        switch state {
        case .data: "data"
        case .compressed: "compressed"
        case .zero: "zero"
        case .unallocated: "unallocated"
        case .absent: "absent"
        }
    }

    private var legend: [String] {
        var lines = [
            "   #  data               +  some data, less than half",
            "   C  compressed         c  some compressed data",
            "   0  zero               o  some zero",
            "   .  not in this layer     (blank) behind the layer's end",
        ]
        if picture.layers.count > 1 { lines.append("seen  which layer most of it is read from; . for none: zero") }
        if let bitmap = picture.bitmap {
            let total = picture.dirty.reduce(0, +)
            lines.append("dirt  D dirty, d some of it, by bitmap '\(printable(bitmap))': \(ByteSize(total))")
        }
        return lines
    }
}
