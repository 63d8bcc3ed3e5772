// SPDX-License-Identifier: GPL-2.0-or-later

import DiskChain
import Foundation
import Qcow2Format
import Testing

@testable import BackupService
@testable import qcowbackup

/// How what is known of images is printed.
@Suite struct ImageTextTests {
    private static func picture(rows: Int = 1) -> MapPicture {
        let size: UInt64 = 72 << 10
        var picture = MapPicture(
            length: size, bands: rows, columns: 72 / rows,
            layers: [
                .init(path: "top <&\"\n.qcow2", format: .qcow2, length: size),
                .init(path: "base.raw", format: .raw, length: size / 2),
            ])
        let top = MapEntry(start: 0, length: 8 << 10, isPresent: true, isData: true)
        let part = MapEntry(start: 10 << 10, length: 100, isPresent: true, isData: true, isCompressed: true)
        let base = MapEntry(start: 0, length: size / 2, isPresent: true, isZero: true)
        picture.add(top, ofLayer: 0)
        picture.add(MapEntry(start: 8 << 10, length: 2 << 10), ofLayer: 0)
        picture.add(part, ofLayer: 0)
        picture.add(MapEntry(start: (10 << 10) + 100, length: (62 << 10) - 100), ofLayer: 0)
        picture.add(base, ofLayer: 1)
        picture.addShown(top)
        picture.addShown(MapEntry(start: 8 << 10, length: 28 << 10, depth: 1, isPresent: true, isZero: true))
        return picture
    }

    @Test func textMap() {
        var picture = Self.picture(rows: 2)
        picture.bitmap = "b\u{1b}"
        picture.addDirty(1024..<2048)
        picture.addDirty(40 << 10..<(40 << 10) + 1)
        #expect(
            MapPictureText(picture).description == """
                72 KiB disk, 1 KiB to a column

                from 0 B
                seen |000000001111111111111111111111111111|
                   0 |########..c.........................|
                   1 |000000000000000000000000000000000000|
                dirt |.D..................................|

                from 36 KiB
                seen |....................................|
                   0 |....................................|
                   1 |                                    |
                dirt |....d...............................|

                layers:
                   0  top <&"\\n.qcow2 (qcow2): 8 KiB data, 100 B compressed, 63.9 KiB unallocated
                   1  base.raw (raw): 36 KiB zero

                signs:
                   #  data               +  some data, less than half
                   C  compressed         c  some compressed data
                   0  zero               o  some zero
                   .  not in this layer     (blank) behind the layer's end
                seen  which layer most of it is read from; . for none: zero
                dirt  D dirty, d some of it, by bitmap 'b\\u{1B}': 1 KiB

                """)
    }

    @Test func emptyDisk() {
        let picture = MapPicture(
            length: 0, bands: 1, columns: 72, layers: [.init(path: "a", format: .raw, length: 0)])
        #expect(MapPictureText(picture).description.hasPrefix("0 B disk\n\nlayers:\n   0  a (raw)\n"))
        #expect(MapPictureSVG(picture).description.hasSuffix("</svg>\n"))
    }

    /// What a name holds is text in the picture, never markup.
    @Test func svgEscapes() {
        let svg = MapPictureSVG(Self.picture()).description
        #expect(svg.contains("<title id=\"title\">Map of top &lt;&amp;&quot;\\n.qcow2</title>"))
        #expect(!svg.contains("<&"))
        #expect(svg.contains("fill=\"#0072b2\"><title>data: 0 B to 8 KiB</title></rect>"))
        #expect(svg.contains("<title>some compressed: 10 KiB to 11 KiB</title>"))
    }

    @Test(
        arguments: [
            (0, "0 B"), (999, "999 B"), (1000, "0.977 KiB"), (1023, "0.999 KiB"), (1024, "1 KiB"), (1536, "1.5 KiB"),
            (200704, "196 KiB"), (1_048_576, "1 MiB"), (2_297_856, "2.19 MiB"), (1 << 63, "8 EiB"),
            (UInt64.max, "16 EiB"), (1023 << 20, "0.999 GiB"),
        ] as [(UInt64, String)])
    func sizes(bytes: UInt64, text: String) {
        #expect(QEMUSize(bytes).description == text)
    }

    @Test func jsonLayout() throws {
        let node = JSONNode.object([
            ("b", .list([])), ("a", .list([.number(1), .flag(true)])), ("t", .text("é\"\\\n\u{1}😀")),
        ])
        let text = node.lines()
        #expect(
            text == """
                {
                    "b": [
                    ],
                    "a": [
                        1,
                        true
                    ],
                    "t": "\\u00e9\\"\\\\\\n\\u0001\\ud83d\\ude00"
                }
                """)
        let back = try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any]
        #expect(back?["t"] as? String == "é\"\\\n\u{1}😀")
    }

    @Test func comparisons() {
        func text(_ difference: CompareReport.Difference?, _ second: UInt64 = 1024, common: Bool = true) -> String {
            CompareText(
                CompareReport(
                    difference: difference, firstLength: 1024, secondLength: second, hasComparedCommonPart: common)
            ).description
        }
        #expect(text(nil) == "Images are identical.\n")
        #expect(text(nil, 2048) == "Warning: Image size mismatch!\nImages are identical.\n")
        #expect(text(.content(1000)) == "Content mismatch at offset 512!\n")
        #expect(text(.content(1000), 2048, common: false) == "Content mismatch at offset 512!\n")
        #expect(text(.content(1100), 2048) == "Warning: Image size mismatch!\nContent mismatch at offset 1024!\n")
        #expect(text(.allocation(4096)) == "Strict mode: Offset 4096 block status mismatch!\n")
        #expect(text(.length, 2048, common: false) == "Strict mode: Image size mismatch!\n")
    }
}
