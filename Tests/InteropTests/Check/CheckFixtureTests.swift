// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

/// Whatever lies in Fixtures/: the program's numbers and exit codes are qemu-img's.
@Suite(.limited, .enabled(if: Peers.areInstalled, Peers.missing))
struct CheckFixtureTests {
    /// Loops keep qemu-img busy for ever.
    private static func checkable() throws -> [Fixture] {
        try Fixture.all().filter { $0.facts.check != nil && $0.facts.format == .qcow2 }
    }

    /// What qemu-img's check doesn't see: it can't read the image either.
    private static let overlooked: [String: UInt64] = ["bad-l2-zero-in-version-2": 1]

    /// What nobody can know any more: where the L1 table was, or that of a snapshot. Freeing what they led to would
    /// destroy what may still be saved, so they stay corrupt; qemu-img frees it.
    private static let lost: Set<String> = [
        "bad-l1-offset-past-end", "bad-snapshot-l1-past-end", "bad-snapshot-l1-size-2-31",
        "bad-snapshot-table-past-end",
    ]

    @Test(arguments: try checkable()) func numbers(of fixture: Fixture) async throws {
        try await withTemporaryDirectory { directory in
            // Some name their backing files in ways that are relative to where the program runs.
            _ = try fixture.copyIntoPlace(directory)
            let path = FilePath(fixture.facts.file)
            let peer = try await CheckNumbers.ofPeer(path, in: directory.path)
            let result = try await Program.qcowbackup.run(
                ["check", "--output=json", "-f", "qcow2", path.string], directory: directory.path)
            let overlooked = Self.overlooked[fixture.name]
            #expect(result.exitCode == (overlooked == nil ? peer.exitCode : 2), "\(result)")
            guard let numbers = peer.numbers, peer.exitCode != 1 else {
                #expect(!result.standardOutput.isEmpty || !result.standardError.isEmpty)
                return
            }
            let ours = try JSONDecoder().decode(CheckNumbers.self, from: Data(result.outputBytes))
            if let overlooked {
                #expect(ours.corruptions == overlooked && numbers.corruptions == nil, "\(result)")
                return
            }
            #expect(ours == numbers, "\(result)")
            // The lines that people read, too; of some.
            guard isHeavyRun || fixture.name.utf8.count % 4 == 0 else { return }
            let words = ["check", "-f", "qcow2", path.string]
            let text = try await Program.qcowbackup.run(words, directory: directory.path)
            let theirs = try await Program.qemuIMG.run(words, directory: directory.path)
            #expect(text.standardOutput == theirs.standardOutput)
            #expect(text.exitCode == theirs.exitCode)
        }
    }

    @Test(arguments: try checkable().filter { $0.facts.check?.exitCode ?? 0 > 1 })
    func repair(of fixture: Fixture) async throws {
        try await withTemporaryDirectory { directory in
            let path = try fixture.copyIntoPlace(directory)
            let result = try await Program.qcowbackup.run(["check", "-q", "-r", "all", "-f", "qcow2", path.string])
            #expect(result.standardError.contains("Repairing: "), "\(result)")
            let peer = try await CheckNumbers.ofPeer(path)
            if Self.lost.contains(fixture.name) {
                #expect(result.exitCode == 2 && peer.exitCode == 2)
            } else {
                #expect(result.exitCode == 0 && peer.exitCode == 0, "\(result)")
            }
        }
    }

    @Test func otherFormats() async throws {
        try await withTemporaryDirectory { directory in
            try directory.write([UInt8](repeating: 7, count: 70000), to: "disk.raw")
            let raw = try await Program.qcowbackup.run(["check", directory.file("disk.raw").string])
            #expect(raw.exitCode == 63, "\(raw)")
            try directory.write([UInt8](repeating: 0, count: 70000), to: "a.qcow2.partial")
            let partial = try await Program.qcowbackup.run(["check", directory.file("a.qcow2.partial").string])
            #expect(partial.exitCode == 1 && partial.standardError.contains("unfinished backup"), "\(partial)")
            try directory.write([UInt8](repeating: 0, count: 70000), to: "a.qcow2")
            let blank = try await Program.qcowbackup.run(["check", "-f", "qcow2", directory.file("a.qcow2").string])
            #expect(blank.exitCode == 1 && blank.standardError.contains("unfinished backup"), "\(blank)")
            let absent = try await Program.qcowbackup.run(["check", directory.file("absent").string])
            #expect(absent.exitCode == 1)
            let usage = try await Program.qcowbackup.run(["check", "-r", "everything", "x"])
            #expect(usage.exitCode == 1, "2 would say that it is corrupt")
        }
    }
}
