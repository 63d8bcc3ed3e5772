// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import SystemPackage
import Testing

@testable import TestSupport

/// Descriptions of fixtures are read with all their keys, and images are only ever copied.
struct FixtureTests {
    static let full = """
        {"description": "two clusters", "commands": ["qemu-img create -f qcow2 two.qcow2 1M"], "file": "two.qcow2",
         "format": "qcow2", "arguments": ["-F", "raw"], "virtual-size": 1048576, "cluster-size": 65536,
         "map": [{"start": 0, "length": 65536, "depth": 0, "present": true, "zero": false, "data": true,
                  "compressed": false, "offset": 327680},
                 {"start": 65536, "length": 983040, "depth": 0, "present": false, "zero": true, "data": false}],
         "sha256": "00ff", "check": {"exit-code": 3}, "error": {"exit-code": 1, "message-contains": ["corrupt", "L1"]}}
        """

    static let minimal = """
        {"description": "", "commands": [], "file": "raw.img", "format": "raw", "arguments": []}
        """

    @Test func everyKeyIsRead() throws {
        let facts = try JSONDecoder().decode(FixtureFacts.self, from: Data(Self.full.utf8))
        #expect(facts.virtualSize == 1 << 20)
        #expect(facts.clusterSize == 65536)
        #expect(facts.map?.first?.offset == 327_680)
        #expect(facts.map?.last?.offset == nil)
        #expect(facts.sha256 == "00ff")
        #expect(facts.check?.exitCode == 3)
        #expect(facts.error == .init(exitCode: 1, messageContains: ["corrupt", "L1"]))
    }

    @Test func optionalKeysMayBeMissing() throws {
        let facts = try JSONDecoder().decode(FixtureFacts.self, from: Data(Self.minimal.utf8))
        #expect(facts.format == .raw)
        #expect(facts.map == nil && facts.sha256 == nil && facts.check == nil && facts.error == nil)
    }

    @Test func copiesLeaveTheFixtureAlone() throws {
        let (source, target) = (try TemporaryDirectory(), try TemporaryDirectory())
        try source.write(Array(Self.full.utf8), to: "two.json")
        try source.write([1, 2, 3], to: "two.qcow2")
        try source.write([4], to: "two.base")
        try source.write([5], to: "unrelated.qcow2")
        try source.write(Array(Self.minimal.utf8), to: "another.json")
        try FileManager.default.setAttributes(
            [.posixPermissions: 0o444], ofItemAtPath: source.file("two.qcow2").string)

        let fixtures = try Fixture.all(in: source.path)
        #expect(fixtures.map(\.name) == ["another", "two"])
        let copy = try fixtures[1].copyIntoPlace(target)
        #expect(copy == target.file("two.qcow2"))
        #expect(try target.names() == ["two.base", "two.qcow2"])
        #expect(FileManager.default.isWritableFile(atPath: copy.string))
        try target.write([9], to: "two.qcow2")
        #expect(try source.read("two.qcow2") == [1, 2, 3])
    }

    @Test func theFixturesOfTheRepositoryAreReadable() throws {
        #expect(
            FileManager.default.fileExists(atPath: Fixture.directory.removingLastComponent().string + "/Package.swift"))
        for fixture in try Fixture.all() {
            let directory = try TemporaryDirectory()
            let copy = try fixture.copyIntoPlace(directory)
            #expect(FileManager.default.isReadableFile(atPath: copy.string), "\(fixture)")
        }
    }

    @Test func theProgramLiesBesideTheTests() {
        #expect(Program.qcowbackup.isInstalled)
    }
}
