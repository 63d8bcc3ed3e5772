// SPDX-License-Identifier: GPL-2.0-or-later

import DiskChain
import Qcow2Format
import TestSupport
import Testing

@testable import BackupService

/// A picture counts every byte once in each layer, whatever the lengths are, and data in a cell is never hidden.
@Suite struct MapPictureTests {
    private static func layer(_ length: UInt64) -> MapPicture.Layer {
        MapPicture.Layer(path: "disk", format: .qcow2, length: length)
    }

    private static func entry(
        _ range: Range<UInt64>, depth: Int = 0, present: Bool = true, zero: Bool = false, compressed: Bool = false
    ) -> MapEntry {
        MapEntry(
            start: range.lowerBound, length: UInt64(range.count), depth: depth, isPresent: present, isZero: zero,
            isData: present && !zero, isCompressed: compressed)
    }

    @Test(arguments: 0..<30 as Range<UInt64>)
    func countsEveryByte(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        let length = UInt64.random(in: 1...(1 << UInt64.random(in: 1...50, using: &random)), using: &random)
        var picture = MapPicture(
            length: length, bands: Int.random(in: 1...5, using: &random),
            columns: Int.random(in: 1...80, using: &random), layers: [Self.layer(length), Self.layer(length / 3)])
        var borders: Set<UInt64> = [0, length]
        for _ in 0..<20 { borders.insert(UInt64.random(in: 0...length, using: &random)) }
        let sorted = borders.sorted()
        for (start, end) in zip(sorted, sorted.dropFirst()) {
            let kind = Int.random(in: 0..<4, using: &random)
            let entry = Self.entry(start..<end, present: kind > 0, zero: kind == 1, compressed: kind == 2)
            picture.add(entry, ofLayer: 0)
            picture.addShown(entry)
            picture.addDirty(start..<end)
        }
        var position: UInt64 = 0
        for cell in 0..<picture.cellCount {
            let range = picture.range(ofCell: cell)
            #expect(range.lowerBound == position && !range.isEmpty)
            position = range.upperBound
            let bytes = UInt64(range.count)
            #expect(picture.layers[0].cells[cell].reduce(0, +) == bytes)
            #expect(picture.dirty[cell] == bytes)
            #expect(
                picture.shown[cell][0] == bytes - picture.layers[0].cells[cell][MapPicture.State.unallocated.rawValue])
        }
        #expect(position == length)
        #expect(picture.layers[0].totals.reduce(0, +) == length)
        // The second layer ends before.
        let absent = picture.layers[1].totals[MapPicture.State.absent.rawValue]
        #expect(absent == length - length / 3)
    }

    @Test func dataIsNeverHidden() {
        var picture = MapPicture(length: 400, bands: 1, columns: 4, layers: [Self.layer(340)])
        picture.add(Self.entry(0..<1), ofLayer: 0)
        picture.add(Self.entry(1..<100, zero: true), ofLayer: 0)
        picture.add(Self.entry(100..<199, present: false), ofLayer: 0)
        picture.add(Self.entry(199..<260, zero: true), ofLayer: 0)
        picture.add(Self.entry(260..<261, compressed: true), ofLayer: 0)
        picture.add(Self.entry(261..<340, present: false), ofLayer: 0)
        let looks = (0..<4).map { picture.look(ofCell: $0, layer: 0) }
        #expect(
            looks == [
                .init(state: .data, isPart: true), .init(state: .zero, isPart: true),
                .init(state: .compressed, isPart: true), .init(state: .absent, isPart: false),
            ])
        #expect(picture.layerShown(inCell: 0) == nil)
        picture.addShown(Self.entry(0..<20))
        #expect(picture.layerShown(inCell: 0) == 0)
    }

    /// Lengths that leave no byte for some cells, or none at all, and the longest there are.
    @Test(arguments: [0, 1, 5, 71, (1 << 63) - 512] as [UInt64])
    func extremeLengths(length: UInt64) {
        var picture = MapPicture(length: length, bands: 4, columns: 72, layers: [Self.layer(length)])
        picture.add(Self.entry(0..<length), ofLayer: 0)
        picture.addShown(Self.entry(0..<length))
        #expect(picture.layers[0].totals[MapPicture.State.data.rawValue] == length)
        #expect(UInt64(picture.cellCount) <= max(length, 1))
        #expect(
            length == 0 ? picture.cellCount == 0 : picture.range(ofCell: picture.cellCount - 1).upperBound == length)
    }

    @Test func entriesThatGoOnAreOne() {
        let first = MapEntry(start: 0, length: 10, isPresent: true, isData: true, offset: 100, file: "a")
        let next = MapEntry(start: 10, length: 5, isPresent: true, isData: true, offset: 110, file: "a")
        var others = [MapEntry](repeating: next, count: 7)
        others[0].offset = 111
        others[1].file = "b"
        others[2].offset = nil
        others[3].depth = 1
        others[4].isZero = true
        others[5].isData = false
        others[6].isCompressed = true
        for other in others {
            var entry = first
            let isOne = entry.absorb(other)
            #expect(!isOne && entry == first, "\(other)")
        }
        var entry = first
        let isOne = entry.absorb(next)
        #expect(isOne && entry.length == 15)
    }
}
