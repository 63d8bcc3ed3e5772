// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import SystemPackage
import TestSupport
import Testing

/// What the program tells of an image is what qemu-img tells, in JSON, in text and by exit code; what only this program
/// tells stands apart. Of damaged images it tells what it can.
@Suite(.limited, .enabled(if: Peers.areInstalled, Peers.missing))
struct InfoTests {
    private static let extraKey = "qcowbackup"
    /// What lines begin with that qemu-img doesn't have.
    private static let extraLines = ["unknown features: ", "unknown header extensions: "]

    @Test(arguments: try Fixture.accepted())
    func sameAsPeer(of fixture: Fixture) async throws {
        try await withTemporaryDirectory { directory in
            let image = try fixture.copyIntoPlace(directory).lastComponent!.string
            let format = ["-f", fixture.facts.format.rawValue, image]
            try await ImagePeers.expectSameJSON(
                ["info", "--output=json", "--backing-chain"] + format, butFor: Self.extraKey, in: directory.path)

            let answers = try await ImagePeers.ask(["info"] + format, in: directory.path)
            let lines = answers.ours.standardOutput.split(separator: "\n", omittingEmptySubsequences: false)
                .filter { line in !Self.extraLines.contains { line.hasPrefix($0) } }
            #expect(lines.joined(separator: "\n") == answers.theirs.standardOutput)
            #expect(answers.ours.exitCode == 0 && answers.ours.standardError == "", "\(answers.ours)")
        }
    }

    /// Exit codes where they differ from qemu-img's: that one crashes, overlooks something, or loads all bitmaps.
    private static let ownExitCodes: [String: Int32] = [
        "bad-encryption-luks": 1,
        "bad-bitmap-extension-twice": 1, "bad-bitmap-table-past-end": 1, "bad-snapshot-table-past-end": 1,
        "bad-bitmap-bits-high-reserved": 0, "bad-bitmap-bits-ones-and-offset": 0, "bad-bitmap-bits-reserved": 0,
        "bad-bitmap-bits-unaligned": 0,
    ]

    /// Every fixture, or every third in turn and those with a rule of their own.
    private static func damagedFixtures() throws -> [Fixture] {
        try (Fixture.refused() + Fixture.withDamagedBitmaps()).enumerated()
            .filter { isHeavyRun || $0.offset % 3 == 0 || ownExitCodes[$0.element.name] != nil }.map(\.element)
    }

    @Test(arguments: try damagedFixtures())
    func damaged(_ fixture: Fixture) async throws {
        try await withTemporaryDirectory { directory in
            let image = try fixture.copyIntoPlace(directory).lastComponent!.string
            let arguments = ["info", "-f", fixture.facts.format.rawValue, image]
            let ours = try await ImagePeers.ours(arguments, in: directory.path)
            var code = Self.ownExitCodes[fixture.name]
            if code == nil { code = try await Program.qemuIMG.run(arguments, directory: directory.path).exitCode }
            #expect(ours.exitCode == code, "\(ours)")
            ImagePeers.expectOneLine(ours, isError: code != 0, "\(fixture)")
        }
    }

    @Test func listsWhatElseThereIs() async throws {
        for (name, words) in [
            ("unknown-compatible-feature", "unknown features: harmless feature"),
            ("unknown-header-extension", "unknown header extensions: 0x71636234"),
        ] {
            let fixture = try #require(try Fixture.all().first { $0.name == name })
            try await withTemporaryDirectory { directory in
                let image = try fixture.copyIntoPlace(directory)
                let text = try await ImagePeers.ours(["info", image.string])
                #expect(text.standardOutput.contains(words + "\n"), "\(text)")
                let json = try await ImagePeers.ours(["info", "--output=json", image.string])
                #expect(try JSON(json.outputBytes)[Self.extraKey] != nil)
            }
        }
    }

    /// Broken bitmaps and snapshots don't hide the rest.
    @Test(arguments: ["bad-bitmap-count-0", "bad-snapshot-table-unaligned", "bad-encryption-luks"])
    func showsTheRest(of name: String) async throws {
        let fixture = try #require(try Fixture.all().first { $0.name == name })
        try await withTemporaryDirectory { directory in
            let image = try fixture.copyIntoPlace(directory)
            let result = try await ImagePeers.ours(["info", image.string])
            #expect(result.exitCode == 1)
            #expect(result.standardOutput.contains("virtual size: "))
            ImagePeers.expectOneLine(result, isError: true, "\(fixture)")
        }
    }

    @Test(arguments: ["aes", "luks"])
    func encrypted(with method: String) async throws {
        try await withTemporaryDirectory { directory in
            let image = directory.file("secret.qcow2").string
            // The shortest that qemu-img lets it take to make a key of a word.
            let time = method == "luks" ? ",encrypt.iter-time=10" : ""
            try await Program.qemuIMG.runSuccessfully([
                "create", "-q", "-f", "qcow2", "--object", "secret,id=s,data=abc", "-o",
                "encrypt.format=\(method),encrypt.key-secret=s\(time)", image, "1M",
            ])
            try await ImagePeers.expectSameJSON(["info", "--output=json", image], butFor: Self.extraKey)
            try await ImagePeers.expectSameText(["info", image])
            for arguments in [["map", "--output=svg", image], ["compare", image, image]] {
                let result = try await ImagePeers.ours(arguments)
                #expect(result.exitCode == (arguments[0] == "map" ? 1 : 2) && result.standardOutput.isEmpty)
                #expect(result.standardError.contains("encrypted"))
                ImagePeers.expectOneLine(result, isError: true, "\(arguments)")
            }
        }
    }

    @Test func unfinishedBackups() async throws {
        try await withTemporaryDirectory { directory in
            let bytes = [UInt8](repeating: 0, count: 65536) + [UInt8](repeating: 7, count: 65536)
            for name in ["disk.qcow2.partial", "disk.raw"] {
                let path = try directory.write(bytes, to: name).string
                let text = try await ImagePeers.ours(["info", path])
                let isPartial = name.hasSuffix("partial")
                #expect(text.exitCode == 0)
                #expect(text.standardOutput.contains(isPartial ? "\nunfinished: yes" : "\nblank head: yes"), "\(text)")
                let extra = try JSON(try await ImagePeers.ours(["info", "--output=json", path]).outputBytes)[
                    "qcowbackup"]
                #expect(extra?["unfinished"] == (isPartial ? .flag(true) : nil))
                #expect(extra?["blank-head"] == .flag(true))

                for command in ["info", "map"] {
                    let refused = try await ImagePeers.ours([command, "-f", "qcow2", path])
                    #expect(refused.exitCode == 1)
                    #expect(refused.standardError.contains(isPartial ? "unfinished" : "first sector is blank"))
                    ImagePeers.expectOneLine(refused, isError: true, "\(command)")
                }
            }
            // A disk that nobody has written to is no unfinished backup.
            let empty = directory.file("empty.raw").string
            try await Program.qemuIMG.runSuccessfully(["create", "-q", "-f", "raw", empty, "1M"])
            try await ImagePeers.expectSameText(["info", "-f", "raw", empty])
        }
    }

    @Test func aBackupSaysWhichOneItIs() async throws {
        try await withTemporaryDirectory { directory in
            let (image, backup) = (directory.file("disk.qcow2"), directory.file("backup.qcow2"))
            try await Peers.create(image, "", 1 << 20)
            try await Peers.backUp(image, to: backup, [])
            try await ImagePeers.expectSameJSON(["info", "--output=json", backup.string], butFor: Self.extraKey)
            let json = try JSON(try await ImagePeers.ours(["info", "--output=json", backup.string]).outputBytes)
            guard case .text(let id) = json[Self.extraKey]?["backup-id"] else {
                Issue.record("no id in \(json)")
                return
            }
            let text = try await ImagePeers.ours(["info", backup.string])
            #expect(id.count == 32 && text.standardOutput.contains("\nbackup: \(id)\n"), "\(text)")
        }
    }

    @Test func lockedImages() async throws {
        try await withTemporaryDirectory { directory in
            let image = directory.file("disk.qcow2")
            try await Peers.create(image, "", 1 << 20)
            let holder = try await QEMUHolder.qemuIO.open(image)
            let refused = try await ImagePeers.ours(["info", image.string])
            #expect(refused.exitCode == 1 && refused.standardError.contains("-U"), "\(refused)")
            try await ImagePeers.expectSameText(["info", "-U", image.string])
            try await QEMUHolder.close(holder)
        }
    }
}
