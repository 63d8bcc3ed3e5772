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
    private static let overlooked: [String: UInt64] = [
        "bad-l2-zero-in-version-2": 1, "bad-truncated-in-compressed-data": 1,
    ]

    /// Of which qemu-img takes a part for zeroes that isn't there.
    private static let misread: Set<String> = ["bad-truncated-in-l1"]

    /// What nobody can know any more: where the L1 table was, or that of a snapshot. Freeing what they led to would
    /// destroy what may still be saved, so they stay corrupt; qemu-img frees it.
    private static let lost: Set<String> = [
        "bad-l1-offset-past-end", "bad-snapshot-l1-past-end", "bad-snapshot-l1-size-2-31",
        "bad-snapshot-table-past-end", "bad-truncated-in-l1",
    ]

    /// Whose leaks stay, since an L2 table that is cut off may have led there.
    private static let leaking: Set<String> = ["truncated-in-l2-table"]

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
            if Self.misread.contains(fixture.name) {
                #expect(ours.corruptions ?? 0 > 0 && numbers.corruptions ?? 0 > 0, "\(result)")
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
                #expect(result.exitCode == 2 && (peer.exitCode == 2 || Self.misread.contains(fixture.name)))
            } else if Self.leaking.contains(fixture.name) {
                #expect(result.exitCode == 3 && peer.exitCode == 3)
            } else {
                #expect(result.exitCode == 0 && peer.exitCode == 0, "\(result)")
            }
        }
    }

    /// A backing file of a format that others read is no fault of the image; that it is missing is.
    @Test func backingOfAnotherFormat() async throws {
        try await withTemporaryDirectory { directory in
            let base = directory.file("base.vmdk")
            let image = directory.file("top.qcow2")
            try await Program.qemuIMG.runSuccessfully(["create", "-q", "-f", "vmdk", base.string, "1M"])
            try await Program.qemuIMG.runSuccessfully([
                "create", "-q", "-f", "qcow2", "-b", base.string, "-F", "vmdk", image.string,
            ])
            #expect(try await Program.qcowbackup.run(["check", image.string]).exitCode == 0)
            try FileManager.default.removeItem(atPath: base.string)
            let missing = try await Program.qcowbackup.run(["check", image.string])
            #expect(missing.exitCode == 1 && missing.standardError.contains("base.vmdk"), "\(missing)")
        }
    }

    /// A data file that was cut off by more than a part of its last cluster.
    @Test func cutDataFile() async throws {
        try await withTemporaryDirectory { directory in
            let image = directory.file("image.qcow2")
            let data = directory.file("data.raw")
            try await Program.qemuIMG.runSuccessfully([
                "create", "-q", "-f", "qcow2", "-o", "data_file=\(data)", image.string, "1M",
            ])
            try await Program.qemuIO.runSuccessfully(["-f", "qcow2", "-c", "write -P 1 0 300000", image.string])
            let bytes = try directory.read("data.raw")
            for (length, code) in [(294_999, 0), (262_145, 0), (262_144, 2)] as [(Int, Int32)] {
                try directory.write(Array(bytes[..<length]), to: "data.raw")
                let check = try await Program.qcowbackup.run(["check", image.string])
                #expect(check.exitCode == code, "\(length): \(check)")
                let raw = directory.file("out.raw").string
                let backup = try await Program.qcowbackup.run(["-q", "-O", "raw", "--force", image.string, raw])
                #expect(backup.exitCode == (code == 0 ? 0 : 1), "\(length): \(backup)")
                if code == 0 {
                    let out = try directory.read("out.raw")
                    #expect(out.count == 1 << 20 && haveSameBytes(out[..<length], bytes[..<length]))
                    #expect(areZero(out[length...]))
                } else {
                    #expect(backup.standardError.contains("guest offset 262144"), "\(backup)")
                    let ignored = try await Program.qcowbackup.run([
                        "-q", "-O", "raw", "--force", "--on-source-error=ignore", image.string, raw,
                    ])
                    #expect(ignored.exitCode == 3, "\(ignored)")
                    #expect(try haveSameBytes(directory.read("out.raw")[..<length], bytes[..<length]))
                }
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
