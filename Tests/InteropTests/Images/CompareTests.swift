// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import SystemPackage
import TestSupport
import Testing

/// The program compares disks as qemu-img does: the same verdict, in the same words, with the same exit code.
@Suite(.limited, .enabled(if: Peers.areInstalled, Peers.missing))
struct CompareTests {
    private static let seeds: Range<UInt64> = 0..<(isHeavyRun ? 100 : 5)

    @Test(arguments: seeds)
    func randomDisks(seed: UInt64) async throws {
        var random = SeededRandom(seed: seed + 2000)
        var shape = ImageShape(random: &random)
        shape.clusterSize = 512 << (seed % 13)
        if shape.clusterSize < 16384 { shape.extendedL2 = false }
        try await withTemporaryDirectory { directory in
            let disk = try await RandomDisk(shape, layers: Int(seed % 3) + 1, in: directory, random: &random)
            let path = disk.path.string
            let other = directory.file("other")
            let format = seed % 2 == 0 ? "raw" : "qcow2"
            try await Program.qemuIMG.runSuccessfully(["convert", "-O", format, path, other.string])
            let pair = ["-F", format, path, other.string]
            try await ImagePeers.expectSameText(["compare"] + pair)
            if let backing = disk.backing { try await ImagePeers.expectSameText(["compare", path, backing.string]) }

            // Somewhere something else.
            let offset = UInt64.random(in: 0..<disk.length / 512, using: &random) * 512
            try await Peers.io(other, ["write -q -P 0xEE \(offset) 512"], format: format)
            try await ImagePeers.expectSameText(["compare"] + pair)
            try await ImagePeers.expectSameText(["compare", "-q"] + pair)

            // Longer: with zeroes, which don't matter, and with something, which does.
            try await Program.qemuIMG.runSuccessfully(["convert", "-O", format, path, other.string])
            try await Program.qemuIMG.runSuccessfully(["resize", "-q", "-f", format, other.string, "+1M"])
            try await ImagePeers.expectSameText(["compare"] + pair)
            try await ImagePeers.expectSameText(["compare", "-s"] + pair)
            try await Peers.io(other, ["write -q -P 0xEE \(disk.length + 4096) 512"], format: format)
            try await ImagePeers.expectSameText(["compare"] + pair)
            try await ImagePeers.expectSameText(["compare", "-f", format, other.string, path])
        }
    }

    @Test(arguments: seeds)
    func strictly(seed: UInt64) async throws {
        var random = SeededRandom(seed: seed + 3000)
        var shape = ImageShape(random: &random)
        shape.clusterSize = 4096 << (seed % 5)
        if shape.clusterSize < 16384 { shape.extendedL2 = false }
        shape.dataFile = .none
        try await withTemporaryDirectory { directory in
            let disk = try await RandomDisk(shape, layers: 1, in: directory, random: &random)
            let copy = directory.file("copy.qcow2")
            try await Program("cp").runSuccessfully(["--sparse=never", disk.path.string, copy.string])
            try await ImagePeers.expectSameText(["compare", "-s", disk.path.string, copy.string])
            let offset = UInt64.random(in: 0..<disk.length / 512, using: &random) * 512
            try await Peers.io(copy, ["write -q -P 0xEE \(offset) 512"])
            // To qemu-img, a run that reaches the end of the disk is stored otherwise than one that doesn't: it may tell
            // of the start of such a run, where this program tells of the first byte that really is.
            let answers = try await ImagePeers.ask(["compare", "-s", disk.path.string, copy.string])
            #expect(answers.ours.exitCode == answers.theirs.exitCode)
            if answers.ours.standardOutput != answers.theirs.standardOutput {
                #expect(answers.theirs.standardOutput.contains("block status mismatch"))
                let (ours, theirs) = (Self.offset(in: answers.ours), Self.offset(in: answers.theirs))
                #expect(try #require(theirs) < (try #require(ours)))
            }
        }
    }

    /// The number in what a comparison says.
    private static func offset(in result: ProgramResult) -> UInt64? {
        UInt64(result.standardOutput.drop { !$0.isNumber }.prefix { $0.isNumber })
    }

    @Test func inJSON() async throws {
        try await withTemporaryDirectory { directory in
            let one = try directory.write([UInt8](repeating: 1, count: 4096), to: "one").string
            var bytes = [UInt8](repeating: 1, count: 4096)
            let same = try directory.write(bytes, to: "same").string
            bytes[1000] = 2
            let other = try directory.write(bytes, to: "other").string
            let longer = try directory.write([UInt8](repeating: 1, count: 4096) + [0, 0], to: "longer").string
            let cases: [([String], Int32, String)] = [
                ([one, same], 0, #"{"identical":true,"virtual-sizes":[4096,4096]}"#),
                (
                    [one, other], 1,
                    #"{"difference":"content","identical":false,"offset":1000,"virtual-sizes":[4096,4096]}"#
                ),
                ([one, longer], 0, #"{"identical":true,"virtual-sizes":[4096,4608]}"#),
                (["-s", one, longer], 1, #"{"difference":"size","identical":false,"virtual-sizes":[4096,4608]}"#),
            ]
            for (arguments, code, line) in cases {
                let result = try await ImagePeers.ours(["compare", "--output=json"] + arguments)
                #expect(result.exitCode == code && result.standardOutput == line + "\n", "\(result)")
            }
            let progress = try await ImagePeers.ours(["compare", "-p", one, same])
            #expect(progress.standardOutput == "Images are identical.\n" && progress.standardError.contains("100"))
        }
    }

    @Test func failures() async throws {
        try await withTemporaryDirectory { directory in
            let one = try directory.write([UInt8](repeating: 1, count: 4096), to: "one").string
            for arguments in [[one, "absent"], ["absent", one], ["-f", "qcow2", one, one]] {
                let result = try await ImagePeers.ours(["compare"] + arguments)
                #expect(result.exitCode == 2 && result.standardOutput.isEmpty)
                ImagePeers.expectOneLine(result, isError: true, "\(arguments)")
            }
            // The data of a cluster lies behind the end of the file.
            let image = directory.file("image.qcow2")
            try await Peers.create(image, "", 1 << 20)
            try await Peers.io(image, ["write -q -P 1 0 64k"])
            let copy = directory.file("copy.qcow2")
            try await Program("cp").runSuccessfully([image.string, copy.string])
            try await Program("truncate").runSuccessfully(["-s", "-65536", copy.string])
            let unreadable = try await ImagePeers.ours(["compare", image.string, copy.string])
            #expect(unreadable.exitCode == 4 && unreadable.standardError.contains("truncated"), "\(unreadable)")
            // An L2 entry that breaks the format.
            let fixture = try #require(try Fixture.all().first { $0.name == "bad-l2-entry-unaligned" })
            let broken = try fixture.copyIntoPlace(directory).string
            let unmapped = try await ImagePeers.ours(["compare", broken, broken])
            #expect(unmapped.exitCode == 3, "\(unmapped)")
            ImagePeers.expectOneLine(unmapped, isError: true, "\(fixture)")
        }
    }
}
