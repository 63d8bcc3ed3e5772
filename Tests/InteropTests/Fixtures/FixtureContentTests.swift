// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DiskChain
import Foundation
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

/// Whatever lies in Fixtures/ reads as its description says.
@Suite(.limited)
struct FixtureContentTests {
    private func withDisk(
        _ fixture: Fixture, _ body: (OpenedDisk, TemporaryDirectory) async throws -> Void
    ) async throws {
        try await withTemporaryDirectory { directory in
            let path = try fixture.copyIntoPlace(directory)
            let disk = try await DiskOpener().open(
                path.string, format: fixture.givenFormat, snapshot: fixture.snapshot)
            try await body(disk, directory)
        }
    }

    @Test(arguments: try Fixture.accepted())
    func lengthAndStatus(of fixture: Fixture) async throws {
        try await withDisk(fixture) { disk, _ in
            #expect(disk.device.length == fixture.facts.virtualSize)
            #expect(disk.layers[0].format.rawValue == fixture.facts.format.rawValue)
            if let image = disk.device as? Qcow2Image {
                #expect(try await image.clusterSize() == fixture.facts.clusterSize)
            }
            guard let map = fixture.facts.map else { return }
            let status = StatusMap(try await disk.device.extents())
            #expect(status == StatusMap(map))
        }
    }

    @Test(
        arguments: try Fixture.accepted().filter { $0.facts.sha256 != nil },
        // In one piece; in pieces that fit no cluster.
        [16 << 20, 48 << 9])
    func content(of fixture: Fixture, pieceLength: Int) async throws {
        try await withDisk(fixture) { disk, directory in
            var content = Data()
            while UInt64(content.count) < disk.device.length {
                let count = min(pieceLength, Int(disk.device.length) - content.count)
                content += try await disk.device.bytes(at: UInt64(content.count), count: count)
            }
            try content.write(to: URL(filePath: directory.file("content").string))
            let digest = try await Program("sha256sum").runSuccessfully([directory.file("content").string])
            #expect(digest.standardOutput.prefix(64) == fixture.facts.sha256 ?? "")
        }
    }

    /// What the status says is zero reads as zero; what is stored in one place is what that place holds.
    @Test(arguments: try Fixture.accepted().filter { $0.facts.sha256 != nil })
    func statusIsTrue(of fixture: Fixture) async throws {
        try await withDisk(fixture) { disk, _ in
            var position: UInt64 = 0
            for extent in try await disk.device.extents() {
                let bytes = try await disk.device.bytes(at: position, count: Int(extent.length))
                if extent.readsAsZero {
                    #expect(areZero(bytes[...]), "at \(position)")
                } else if let location = extent.location {
                    let stored = try await location.device.bytes(at: location.offset, count: Int(extent.length))
                    #expect(haveSameBytes(bytes, stored), "at \(position)")
                }
                position += extent.length
            }
        }
    }

    @Test
    func thereAreFixtures() throws {
        #expect(try Fixture.accepted().count > 40)
        #expect(try Fixture.refused().count > 60)
    }
}
