// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import SystemPackage
import TestSupport
import Testing

/// The program maps disks as qemu-img does: the same entries and no others, the same table, the same exit codes.
@Suite(.limited, .enabled(if: Peers.areInstalled, Peers.missing))
struct MapTests {
    /// Newer versions of qemu-img have it too.
    private static let newerKey = "compressed"

    @Test(arguments: try Fixture.accepted())
    func sameAsPeer(of fixture: Fixture) async throws {
        try await withTemporaryDirectory { directory in
            let image = try fixture.copyIntoPlace(directory).lastComponent!.string
            let format = ["-f", fixture.facts.format.rawValue, image]
            try await ImagePeers.expectSameJSON(
                ["map", "--output=json"] + format, butFor: Self.newerKey, in: directory.path)
            try await ImagePeers.expectSameText(["map"] + format, in: directory.path)
        }
    }

    /// What can't be read can't be mapped, and is refused in one line.
    /// Every fixture, or every other one.
    @Test(arguments: try Fixture.refused().enumerated().filter { isHeavyRun || $0.offset % 2 == 0 }.map(\.element))
    func damaged(_ fixture: Fixture) async throws {
        try await withTemporaryDirectory { directory in
            let image = try fixture.copyIntoPlace(directory)
            let output = ["human", "json", "text-map", "svg"][fixture.name.utf8.count % 4]
            let result = try await ImagePeers.ours(
                ["map", "--output=\(output)", "-f", fixture.facts.format.rawValue, image.string])
            let isCompressed = fixture.name.contains("compressed") || fixture.name.contains("-z")
            let code: Int32 = Self.brokenContent.contains(fixture.name) && !(isCompressed && output == "human") ? 0 : 1
            #expect(result.exitCode == code, "\(result)")
            ImagePeers.expectOneLine(result, isError: code != 0, "\(fixture)")
            #expect(code == 0 || result.standardError.contains(fixture.name))
        }
    }

    /// What can be mapped all the same: the data that the tables lead to is damaged, or only snapshots are.
    private static let brokenContent: Set<String> = [
        "bad-compressed-past-end", "bad-l2-entry-past-end", "bad-truncated-before-data",
        "bad-truncated-in-compressed-data", "bad-truncated-in-data", "bad-zlib-garbage", "bad-zlib-long",
        "bad-zlib-short", "bad-zstd-garbage", "bad-zstd-long", "bad-zstd-short", "bad-snapshot-absent",
        "bad-snapshot-count-2-31", "bad-snapshot-extra-data", "bad-snapshot-l1-past-end",
        "bad-snapshot-l1-size-2-31", "bad-snapshot-table-past-end", "bad-snapshot-table-unaligned",
    ]

    private static let seeds: Range<UInt64> = 0..<(isHeavyRun ? 120 : 6)

    @Test(arguments: seeds)
    func randomChains(seed: UInt64) async throws {
        var random = SeededRandom(seed: seed + 1000)
        var shape = ImageShape(random: &random)
        shape.clusterSize = 512 << (seed % 13)
        shape.extendedL2 = shape.isVersion3 && shape.clusterSize >= 16384 && seed % 2 == 0
        try await withTemporaryDirectory { directory in
            let disk = try await RandomDisk(shape, layers: Int(seed % 3) + 1, in: directory, random: &random)
            let path = disk.path.string
            // How much room a file takes, which both look at, changes until it is on the disk.
            try await Program("sync").runSuccessfully(disk.layers.map(\.string))
            try await ImagePeers.expectSameJSON(["map", "--output=json", path], butFor: Self.newerKey)
            try await ImagePeers.expectSameText(["map", path])
            let range = random.range(below: disk.length, alignment: 1)
            try await ImagePeers.expectSameJSON(
                ["map", "--output=json", "--start-offset=\(range.lowerBound)", "--max-length=\(range.count)", path],
                butFor: Self.newerKey)
            try await ImagePeers.expectSameJSON(
                ["info", "--output=json", "--backing-chain", path], butFor: "qcowbackup")
            try await ImagePeers.expectSameText(["info", path])
        }
    }

    @Test func nothingToList() async throws {
        try await withTemporaryDirectory { directory in
            let image = directory.file("disk.qcow2")
            try await Peers.create(image, "", 1 << 20)
            for range in [["-s", "1M"], ["-s", "2M"], ["-l", "0"], ["-s", "512", "-l", "0"]] {
                try await ImagePeers.expectSameJSON(
                    ["map", "--output=json"] + range + [image.string], butFor: Self.newerKey)
                try await ImagePeers.expectSameText(["map"] + range + [image.string])
            }
        }
    }

    /// Clusters that were allocated and never written to lie in holes of the file.
    @Test(arguments: ["metadata", "falloc", "off"])
    func preallocated(how: String) async throws {
        try await withTemporaryDirectory { directory in
            let image = directory.file("disk.qcow2")
            try await Peers.create(image, "cluster_size=4096,preallocation=\(how)", 32 << 20)
            try await Peers.io(image, ["write -q -P 1 1M 64k", "write -q -P 0 5M 12k", "write -q -P 2 31M 1M"])
            try await Program("sync").runSuccessfully([image.string])
            try await ImagePeers.expectSameJSON(["map", "--output=json", image.string], butFor: Self.newerKey)
            try await ImagePeers.expectSameText(["map", image.string])
        }
    }

    @Test func sparseRawDisks() async throws {
        try await withTemporaryDirectory { directory in
            let disk = directory.file("disk.raw")
            try await Program.qemuIMG.runSuccessfully(["create", "-q", "-f", "raw", disk.string, "8M"])
            try await Peers.io(disk, ["write -q -P 1 1M 64k", "write -q -P 1 6M 4k"], format: "raw")
            try await ImagePeers.expectSameJSON(
                ["map", "--output=json", "-f", "raw", disk.string], butFor: Self.newerKey)
            try await ImagePeers.expectSameText(["map", "-f", "raw", disk.string])
        }
    }

    @Test func picturesOfAChain() async throws {
        try await withTemporaryDirectory { directory in
            let (base, top) = (directory.file("base.qcow2"), directory.file("top.qcow2"))
            try await Peers.create(base, "", 72 << 20)
            try await Peers.io(base, ["write -q -P 1 0 24M", "write -q -c -P 2 24M 12M"])
            try await Peers.create(top, "", 72 << 20, backing: base)
            try await Program.qemuIMG.runSuccessfully(["bitmap", "--add", top.string, "b"])
            try await Peers.io(top, ["write -q -P 3 6M 6M", "write -q -z 30M 12M", "write -q -P 3 71M 64k"])
            let text = try await ImagePeers.ours(["map", "--output=text-map", "--bitmap", "b", top.string])
            #expect(text.exitCode == 0, "\(text)")
            let written = "......######..................000000000000.............................+"
            #expect(
                text.standardOutput.hasPrefix(
                    """
                    72 MiB disk, 1 MiB to a column

                    from 0 B
                    seen |111111000000111111111111111111000000000000.............................0|
                       0 |\(written)|
                       1 |########################CCCCCCCCCCCC....................................|
                    dirt |......DDDDDD..................DDDDDDDDDDDD.............................d|

                    """), "\(text)")
            for line in text.standardOutput.split(separator: "\n") where !line.contains("/") {
                #expect(line.count <= 80, "\(line)")
            }

            let svg = try await ImagePeers.ours(["map", "--output=svg", "--rows=3", "--bitmap=b", top.string])
            #expect(svg.exitCode == 0 && svg.standardError.isEmpty)
            try await Self.expectWellFormed(svg.outputBytes)
            let missing = try await ImagePeers.ours(["map", "--output=svg", "--bitmap=c", top.string])
            #expect(missing.exitCode == 1 && missing.standardError.contains("there is no bitmap 'c'"))
        }
    }

    /// Parses a picture, which must have titles, shapes, and nothing that a browser would fetch or run.
    static func expectWellFormed(_ svg: [UInt8]) async throws {
        let python = Program("python3")
        try #require(python.isInstalled)
        let script = """
            import sys, xml.etree.ElementTree as tree
            root = tree.fromstring(sys.stdin.buffer.read())
            space = '{http://www.w3.org/2000/svg}'
            assert root.tag == space + 'svg', root.tag
            assert root.find(space + 'title').text
            tags = {element.tag for element in root.iter()}
            assert tags <= {space + name for name in ('svg', 'title', 'rect', 'text', 'circle')}, tags
            assert all(rect.find(space + 'title') is not None for rect in root.iter(space + 'rect')
                       if rect.get('pointer-events')), 'a hover title is missing'
            assert not any('href' in name or name.startswith('on') for element in root.iter() for name in element.attrib)
            width, height = int(root.get('width')), int(root.get('height'))
            for rect in root.iter(space + 'rect'):
                x, y, w, h = (int(rect.get(name, '0')) for name in ('x', 'y', 'width', 'height'))
                assert 0 <= x and x + w <= width and 0 <= y and y + h <= height, rect.attrib
            """
        let result = try await python.run(["-c", script], input: svg)
        #expect(result.exitCode == 0, "\(result)")
    }
}
