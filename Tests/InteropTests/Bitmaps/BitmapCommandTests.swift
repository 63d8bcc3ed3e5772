// SPDX-License-Identifier: GPL-2.0-or-later

import FormatTestSupport
import Foundation
import SystemPackage
import TestSupport
import Testing

/// The bitmap command, run as people and scripts run it.
@Suite(
    .limited,
    .enabled(
        if: BitmapPeers.areInstalled && Program.qcowbackup.isInstalled, "qcowbackup or programs of QEMU are missing"))
struct BitmapCommandTests {
    private func run(_ arguments: [String], expecting code: Int32 = 0) async throws -> ProgramResult {
        let result = try await Program.qcowbackup.run(["bitmap"] + arguments)
        #expect(result.exitCode == code, "\(arguments): \(result)")
        return result
    }

    @Test func aLife() async throws {
        let directory = try TemporaryDirectory()
        let image = directory.file("disk.qcow2")
        let path = image.string
        try await Peers.create(image, "", 1 << 20)
        #expect(try await run(["list", path]).standardOutput == "")
        #expect(
            try await run(["list", "--output=json", path]).standardOutput == #"{"bitmaps":[],"image":"\#(path)"}"#
                + "\n")

        for arguments in [["add", path, "nightly"], ["add", "-g", "4K", path, "weekly", "--disabled"]] {
            let result = try await run(arguments)
            #expect(result.standardOutput == "" && result.standardError == "")
        }
        try await Peers.io(image, ["write -q 128k 100k"])
        #expect(
            try await run(["list", path]).standardOutput == """
                NAME     GRANULARITY  STATE      DIRTY
                nightly  64 KiB       recording  128 KiB
                weekly   4 KiB        disabled   0 B

                """)
        _ = try await run(["merge", path, "weekly", "nightly"])
        #expect(try await run(["disable", path, "nightly"]).standardError == "")
        #expect(try await run(["enable", path, "weekly"]).standardError.contains("while bitmap 'weekly' was disabled"))
        #expect(try await run(["enable", path, "weekly"]).standardError == "")
        #expect(
            try await run(["list", "--output", "json", path]).standardOutput
                == #"{"bitmaps":[{"count":131072,"flags":[],"granularity":65536,"inconsistent":false,"#
                + #""name":"nightly","recording":false},{"count":131072,"flags":["auto"],"granularity":4096,"#
                + #""inconsistent":false,"name":"weekly","recording":true}],"image":"\#(path)"}"# + "\n")
        _ = try await run(["clear", path, "weekly"])
        let removed = try await run(["remove", "--output=json", path, "nightly"])
        #expect(removed.standardOutput.contains(#""name":"weekly""#) && !removed.standardOutput.contains("nightly"))
        #expect(
            try await BitmapPeers.state(of: image).bitmaps
                == [.init(name: "weekly", granularity: 4096, isRecording: true)])
        _ = try await run(["remove", path, "weekly"])
        try await Peers.expectClean(image)
    }

    @Test func mergeFromAnotherImage() async throws {
        let directory = try TemporaryDirectory()
        let (one, other) = (directory.file("one.qcow2"), directory.file("other.qcow2"))
        for image in [one, other] {
            try await Peers.create(image, "", 1 << 20)
            try await BitmapPeers.bitmap(image, ["--add", "-g", image == one ? "4096" : "65536"], "b")
        }
        try await Peers.io(other, ["write -q 256k 1k"])
        _ = try await run(["merge", "-b", other.string, "-F", "qcow2", one.string, "b", "b"])
        #expect(try await BitmapPeers.areas(of: "b", in: one) == [256 << 10..<320 << 10])
        // The same image under two names.
        _ = try await run(["merge", "-b", directory.file("./one.qcow2").string, one.string, "b", "b"])
        try await Program.qemuIMG.runSuccessfully(["resize", "-q", "--shrink", other.string, "512K"])
        let result = try await run(["merge", "-b", other.string, one.string, "b", "b"], expecting: 2)
        #expect(result.standardError.contains("different sizes"))
    }

    @Test func refusals() async throws {
        let directory = try TemporaryDirectory()
        let image = directory.file("disk.qcow2")
        let path = image.string
        try await Peers.create(image, "", 1 << 20)
        try await BitmapPeers.bitmap(image, ["--add"], "a")
        let before = try directory.read("disk.qcow2")
        try directory.write([UInt8](repeating: 1, count: 4096), to: "raw")
        let raw = directory.file("raw").string
        let cases: [([String], Int32, String)] = [
            (["remove", path, "b"], 1, "there is no bitmap 'b'; there are: a"),
            (["add", path, "a"], 1, "exists already"),
            (["add", path, ""], 2, "must not be empty"),
            (["add", "-g", "3K", path, "b"], 2, "is invalid for '-g <size>'"),
            (["add", "-g", "256", path, "b"], 2, "is invalid for '-g <size>'"),
            (["add", "-g", "4G", path, "b"], 2, "is invalid for '-g <size>'"),
            (["add", path], 2, "Missing expected argument '<BITMAP>'"),
            (["merge", path, "a"], 2, "Missing expected argument '<SOURCE> ...'"),
            (["merge", path, "a", "b"], 1, "there is no bitmap 'b'"),
            (["list", directory.file("none").string], 1, "No such file"),
            (["list", raw], 1, "not a qcow2 image"),
            (["list", "-f", "raw", raw], 2, "only qcow2"),
            (["list"], 2, "Missing expected argument '<IMAGE>'"),
            (["frobnicate", path], 2, "frobnicate"),
        ]
        for (arguments, code, text) in cases {
            let result = try await run(arguments, expecting: code)
            #expect(result.standardError.contains(text), "\(arguments): \(result)")
            #expect(result.standardError.split(separator: "\n").count == 1 && result.standardOutput == "")
            if code == 1 {
                let json = try await run(["\(arguments[0])", "--output=json"] + arguments.dropFirst(), expecting: code)
                #expect(json.standardError.hasPrefix("{") && json.standardError.contains(#""type":"error""#))
            }
        }
        #expect(try directory.read("disk.qcow2") == before)
        let old = directory.file("old.qcow2")
        try await Peers.create(old, "compat=0.10", 1 << 20)
        let result = try await run(["add", old.string, "a"], expecting: 1)
        #expect(result.standardError.contains("version 2"))
    }

    /// Bitmaps that are damaged don't keep anybody from backing up the disk; whoever asks for them is told.
    @Test(arguments: try Fixture.withDamagedBitmaps()) func damagedBitmaps(fixture: Fixture) async throws {
        let expected = try #require(fixture.facts.bitmaps)
        let directory = try TemporaryDirectory()
        let image = try fixture.copyIntoPlace(directory)
        let before = try directory.content()
        let listed = try await run(["list", image.string], expecting: expected.exitCode)
        for words in expected.messageContains {
            #expect(listed.standardError.contains(words), "\(listed)")
        }
        #expect(listed.standardError.split(separator: "\n").count == 1)
        for command in ["clear", "disable"] where expected.exitCode != 0 {
            let result = try await run([command, image.string, "nightly"], expecting: 1)
            #expect(result.standardError.split(separator: "\n").count == 1)
        }
        #expect(try directory.content() == before)

        let target = directory.file("target.raw")
        try await Peers.backUp(image, to: target, ["-O", "raw"])
        let digest = try await Program("sha256sum").runSuccessfully([target.string])
        #expect(digest.standardOutput.prefix(64) == fixture.facts.sha256 ?? "")
        guard expected.exitCode == 0 else { return }
        if fixture.name.hasSuffix("truncated") {
            // What counts as free must not be given back.
            let result = try await run(["remove", image.string, "nightly"], expecting: 1)
            #expect(result.standardError.contains("refcount") && result.standardError.contains("qcowbackup check"))
            return
        }
        // A bitmap whose bits are lost can be removed.
        let removed = try await run(["remove", image.string, "nightly"])
        #expect(removed.standardError.contains("leak"))
        let check = try await Program.qemuIMG.run(["check", "-q", "-f", "qcow2", image.string])
        #expect([0, 3].contains(check.exitCode), "\(check)")
    }

    @Test func thereAreDamagedBitmaps() throws {
        #expect(try Fixture.withDamagedBitmaps().count > 30)
    }

    @Test func helpNamesTheCommands() async throws {
        let result = try await run(["--help"])
        for command in ["list", "add", "remove", "clear", "enable", "disable", "merge"] {
            #expect(result.standardOutput.contains("  \(command) "))
        }
    }
}
