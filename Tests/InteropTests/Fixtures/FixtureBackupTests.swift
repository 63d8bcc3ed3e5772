// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import SystemPackage
import TestSupport
import Testing

/// Every fixture that is a disk can be backed up in every way, and QEMU takes the result for the same disk.
@Suite(.limited, .enabled(if: Peers.areInstalled, Peers.missing))
struct FixtureBackupTests {
    static let ways = [
        ["--sync=full"],
        ["--sync=full", "-c"],
        ["--sync=full", "-c", "--compression-type=zstd"],
        ["--sync=top"],
    ]

    /// Every fixture in every way; or each in one way, in turn.
    private static func pairs() throws -> [(Fixture, [String])] {
        try Fixture.accepted().enumerated().flatMap { index, fixture in
            (isHeavyRun ? ways : [ways[index % ways.count]]).map { (fixture, $0) }
        }
    }

    @Test(arguments: try pairs())
    func backup(of fixture: Fixture, way: [String]) async throws {
        try await withTemporaryDirectory { directory in
            let source = try fixture.copyIntoPlace(directory)
            let before = try directory.content()
            let target = directory.file("target.qcow2")

            let result = try await Program.qcowbackup.runSuccessfully(
                ["-q"] + fixture.facts.arguments + way + [source.string, target.string])
            #expect(result.standardOutput.isEmpty)
            for line in result.standardError.split(separator: "\n") {
                #expect(line.hasPrefix("qcowbackup: warning: "))
            }

            var after = try directory.content()
            #expect(after.removeValue(forKey: "target.qcow2") != nil)
            #expect(after.removeValue(forKey: "target.qcow2.manifest") != nil)
            #expect(after == before, "the source changed, or more than the target was left")
            try await Peers.expectClean(target)
            // What lies behind the source has no manifest.
            let proof = try await Program.qcowbackup.run(["verify", target.string])
            #expect(proof.exitCode == 0 || way == ["--sync=top"] && proof.exitCode == 1, "\(proof)")
            #expect(proof.standardOutput.contains("checked, as written"), "\(proof)")
            var (original, format) = (source.lastComponent!.string, fixture.facts.format.rawValue)
            if let snapshot = fixture.snapshot {
                try await Program.qemuIMG.runSuccessfully([
                    "convert", "-l", snapshot, "-O", "raw", source.string, directory.file("snapshot.raw").string,
                ])
                // That has the length that the disk has now, and the snapshot its own.
                try await Program.qemuIMG.runSuccessfully([
                    "resize", "-q", "-f", "raw", "--shrink", directory.file("snapshot.raw").string,
                    "\(try #require(fixture.facts.virtualSize))",
                ])
                (original, format) = ("snapshot.raw", "raw")
            }
            // QEMU looks for a data file in the working directory.
            try await Peers.expectEqual(original, format, "target.qcow2", in: directory.path)
        }
    }

    @Test
    func aWarningComesOfACorruptImage() async throws {
        let fixture = try #require(try Fixture.accepted().first { $0.name == "corrupt" })
        try await withTemporaryDirectory { directory in
            let source = try fixture.copyIntoPlace(directory)
            let result = try await Program.qcowbackup.runSuccessfully(
                ["-q", source.string, directory.file("target.qcow2").string])
            #expect(result.standardError.contains("marked corrupt"))
        }
    }
}
