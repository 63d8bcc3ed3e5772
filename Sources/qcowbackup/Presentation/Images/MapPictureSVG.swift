// SPDX-License-Identifier: GPL-2.0-or-later

import BackupService
import DiskChain
import Qcow2Format

/// The picture of a disk and its chain as a file that a browser shows, with nothing from elsewhere in it.
///
/// States differ in brightness, and parts in height, so that the picture can be read without colours.
struct MapPictureSVG: CustomStringConvertible {
    /// Cells of a row.
    static let columns = 460
    private static let cellWidth = 2
    private static let rowHeight = 22
    private static let gap = 4
    private static let labelWidth = 60
    private static let headHeight = 64
    private static let legendLine = 20

    private let picture: MapPicture

    init(_ picture: MapPicture) {
        self.picture = picture
    }

    /// A row of cells: a layer, what is seen, or what is dirty.
    private enum Row {
        case seen
        case layer(Int)
        case dirty
    }

    private var rows: [Row] {
        (picture.layers.count > 1 ? [.seen] : []) + picture.layers.indices.map { .layer($0) }
            + (picture.bitmap == nil ? [] : [.dirty])
    }

    private var bandHeight: Int { rows.count * (Self.rowHeight + Self.gap) + Self.legendLine + 8 }
    private var bands: Int { picture.cellCount > 0 ? picture.bands : 0 }
    private var legendTop: Int { Self.headHeight + bands * bandHeight + 16 }
    private var width: Int { Self.labelWidth + Self.columns * Self.cellWidth + 20 }

    var description: String {
        let top = picture.layers.first.map { Self.escaped($0.path) } ?? ""
        let legend = legend
        let height = legendTop + (legend.count + 1) * Self.legendLine
        var text = """
            <?xml version="1.0" encoding="UTF-8"?>
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(width) \(height)" width="\(width)" \
            height="\(height)" role="img" aria-labelledby="title" font-family="sans-serif" font-size="13">
            <title id="title">Map of \(top)</title>
            <rect width="\(width)" height="\(height)" fill="#ffffff"/>
            <text x="10" y="26" font-size="18">\(top)</text>
            <text x="10" y="48">\(ByteSize(picture.length)) disk, \(picture.layers.count) \
            \(picture.layers.count == 1 ? "layer" : "layers")</text>

            """
        for band in 0..<bands { text += drawn(band: band) }
        for (index, line) in legend.enumerated() {
            text += line(legendTop + (index + 1) * Self.legendLine)
        }
        return text + "</svg>\n"
    }

    // MARK: Rows

    private func drawn(band: Int) -> String {
        let top = Self.headHeight + band * bandHeight
        let cells = band * picture.columns..<(band + 1) * picture.columns
        let range =
            picture.range(ofCell: cells.lowerBound).lowerBound..<picture.range(ofCell: cells.upperBound - 1).upperBound
        var text =
            "<text x=\"\(Self.labelWidth)\" y=\"\(top + 14)\" fill=\"#555555\">\(Self.span(range))</text>\n"
        for (index, row) in rows.enumerated() {
            text += drawn(row, cells, y: top + Self.legendLine + index * (Self.rowHeight + Self.gap))
        }
        return text
    }

    private func drawn(_ row: Row, _ cells: Range<Int>, y: Int) -> String {
        let label =
            switch row {
            case .seen: "seen"
            case .layer(let index): "\(index)"
            case .dirty: "dirty"
            }
        var text = "<text x=\"\(Self.labelWidth - 8)\" y=\"\(y + 15)\" text-anchor=\"end\">\(label)</text>\n"
        let length = picture.columns * Self.cellWidth
        text +=
            "<rect x=\"\(Self.labelWidth)\" y=\"\(y)\" width=\"\(length)\" height=\"\(Self.rowHeight)\" "
            + "fill=\"#ffffff\" stroke=\"#bbbbbb\"/>\n"
        // Neighbours that look alike are one shape.
        var start = cells.lowerBound
        while start < cells.upperBound {
            let look = Look(picture, row, start)
            var end = start + 1
            while end < cells.upperBound, Look(picture, row, end) == look { end += 1 }
            text += shape(look, start..<end, firstCell: cells.lowerBound, y: y)
            start = end
        }
        return text
    }

    /// How a cell is drawn.
    private struct Look: Equatable {
        var colour: String?
        var isPart = false
        var name: String

        init(_ picture: MapPicture, _ row: Row, _ cell: Int) {
            switch row {
            case .layer(let layer):
                let look = picture.look(ofCell: cell, layer: layer)
                colour = MapPictureSVG.colour(look.state)
                isPart = look.isPart
                name = (look.isPart ? "some " : "") + MapPictureText.name(look.state)
            case .seen:
                if let layer = picture.layerShown(inCell: cell) {
                    colour = MapPictureSVG.layerColours[layer % MapPictureSVG.layerColours.count]
                    name = "read from layer \(layer)"
                } else {
                    name = "in no layer: zero"
                }
            case .dirty:
                let bytes = picture.dirty[cell]
                isPart = bytes > 0 && bytes <= UInt64(picture.range(ofCell: cell).count) / 2
                colour = bytes > 0 ? MapPictureSVG.dirtyColour : nil
                name = bytes == 0 ? "clean" : isPart ? "some of it dirty" : "dirty"
            }
        }
    }

    private func shape(_ look: Look, _ cells: Range<Int>, firstCell: Int, y: Int) -> String {
        let x = Self.labelWidth + (cells.lowerBound - firstCell) * Self.cellWidth
        let width = cells.count * Self.cellWidth
        let height = look.isPart ? Self.rowHeight / 2 : Self.rowHeight
        let range =
            picture.range(ofCell: cells.lowerBound).lowerBound..<picture.range(ofCell: cells.upperBound - 1).upperBound
        // What has no colour has a hover title all the same.
        let fill = look.colour.map { "fill=\"\($0)\"" } ?? "fill=\"none\" pointer-events=\"all\""
        return "<rect x=\"\(x)\" y=\"\(y + Self.rowHeight - height)\" width=\"\(width)\" height=\"\(height)\" \(fill)>"
            + "<title>\(look.name): \(Self.span(range))</title></rect>\n"
    }

    private static func span(_ range: Range<UInt64>) -> String {
        "\(ByteSize(range.lowerBound)) to \(ByteSize(range.upperBound))"
    }

    // MARK: Colours: by Okabe and Ito, then by Tol, which people of all colour visions tell apart

    private static func colour(_ state: MapPicture.State) -> String? {
        switch state {
        case .data: "#0072b2"
        case .compressed: "#e69f00"
        case .zero: "#999999"
        case .unallocated: nil
        case .absent: "#eeeeee"
        }
    }

    private static let dirtyColour = "#d55e00"
    /// None that stands for a state.
    private static let layerColours = ["#009e73", "#cc79a7", "#56b4e9", "#f0e442", "#332288", "#882255", "#117733"]

    // MARK: Legend

    private var legend: [(Int) -> String] {
        var lines: [(Int) -> String] = []
        for state in MapPicture.State.allCases {
            let name =
                switch state {
                case .unallocated: "not in this layer"
                case .absent: "behind the layer's end"
                default: MapPictureText.name(state)
                }
            lines.append { y in
                "<rect x=\"10\" y=\"\(y - 12)\" width=\"14\" height=\"14\" "
                    + "fill=\"\(Self.colour(state) ?? "#ffffff")\" stroke=\"#bbbbbb\"/>"
                    + "<text x=\"32\" y=\"\(y)\">\(name)</text>\n"
            }
        }
        if let bitmap = picture.bitmap {
            let total = picture.dirty.reduce(0, +)
            lines.append { y in
                "<rect x=\"10\" y=\"\(y - 12)\" width=\"14\" height=\"14\" fill=\"\(Self.dirtyColour)\"/>"
                    + "<text x=\"32\" y=\"\(y)\">dirty by bitmap \(Self.escaped(bitmap)): \(ByteSize(total))</text>\n"
            }
        }
        lines.append { y in "<text x=\"10\" y=\"\(y)\">half as high: less than half of what is there</text>\n" }
        for (index, layer) in picture.layers.enumerated() {
            let totals = MapPicture.State.allCases.filter { $0 != .absent && layer.totals[$0.rawValue] > 0 }
                .map { "\(ByteSize(layer.totals[$0.rawValue])) \(MapPictureText.name($0))" }
            let colour = Self.layerColours[index % Self.layerColours.count]
            lines.append { y in
                "<circle cx=\"17\" cy=\"\(y - 5)\" r=\"6\" fill=\"\(colour)\"/><text x=\"32\" y=\"\(y)\">"
                    + "\(index): \(Self.escaped(layer.path)) (\(layer.format.rawValue))"
                    + (totals.isEmpty ? "" : ": " + totals.joined(separator: ", ")) + "</text>\n"
            }
        }
        return lines
    }

    /// Text that can't be taken for markup. File names may hold anything; what XML can't hold is shown as escaped.
    private static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in printable(text).unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            case "\u{fffe}", "\u{ffff}": result += "\u{fffd}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}
