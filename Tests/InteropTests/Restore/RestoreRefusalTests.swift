// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import Glibc
import SystemPackage
import TestSupport
import Testing

/// What can't be restored is refused in one line that says what to do, and nothing is touched.
@Suite(.limited, .enabled(if: Peers.areInstalled, Peers.missing))
struct RestoreRefusalTests {
    /// What goes wrong, and how it is told.
    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        var arguments: [String] = ["one.qcow2", "target"]
        var code: Int32 = 1
        /// The line names the file, says why, and what to do.
        let texts: [String]
        /// Shell commands in the folder of the chain.
        var script = "true"
    }

    private static let chains = [
        Case(
            testDescription: "a missing link", texts: ["full.qcow2: open failed: No such file", "--chain FOLDER"],
            script: "rm full.qcow2"),
        Case(
            testDescription: "a link missing from the folder", arguments: ["--chain", "moved", "one.qcow2", "target"],
            texts: ["backing file of one.qcow2: moved/full.qcow2: open failed: No such file", "(put it into moved)"],
            script: "mkdir moved"),
        Case(
            testDescription: "no such folder", arguments: ["--chain", "moved", "one.qcow2", "target"],
            texts: ["--chain: moved does not exist", "name the folder"]),
        Case(
            testDescription: "a file for a folder", arguments: ["--chain", "full.qcow2", "one.qcow2", "target"],
            code: 2,
            texts: ["--chain: full.qcow2 is a regular file", "name the folder"]),
        Case(
            testDescription: "a link cut off", texts: ["full.qcow2", "the image is truncated", "bring the whole file"],
            script: "truncate -s -400000 full.qcow2"),
        Case(
            testDescription: "the tip cut off", texts: ["one.qcow2", "the image is truncated", "bring the whole file"],
            script: "truncate -s -100000 one.qcow2"),
        Case(
            testDescription: "a header cut off", texts: ["full.qcow2: truncated: the file of 50 bytes"],
            script: "truncate -s 50 full.qcow2"),
        Case(
            testDescription: "a link replaced", texts: ["full.qcow2: not a qcow2 image", "bring the right file back"],
            script: "head -c 300000 /dev/urandom >full.qcow2"),
        Case(
            testDescription: "an unfinished link", texts: ["full.qcow2: not a qcow2 image", "never finished"],
            script: "dd if=/dev/zero of=full.qcow2 bs=64k count=1 conv=notrunc status=none"),
        Case(
            testDescription: "an unfinished tip", texts: ["one.qcow2: not a qcow2 image", "unfinished", "-f raw"],
            script: "dd if=/dev/zero of=one.qcow2 bs=64k count=1 conv=notrunc status=none"),
        Case(
            testDescription: "a loop", texts: ["the backing chain is a loop", "one.qcow2", "qemu-img rebase -u"],
            script: "qemu-img rebase -u -b one.qcow2 -F qcow2 full.qcow2"),
        Case(
            testDescription: "two links of one name", arguments: ["--chain", "moved", "moved/full.qcow2", "target"],
            code: 2, texts: ["two files of the chain are called full.qcow2", "rename one", "without --chain"],
            script: "mkdir moved; mv one.qcow2 moved/full.qcow2"),
        Case(
            testDescription: "a tip with the name of a link, elsewhere",
            arguments: ["--chain", ".", "moved/full.qcow2", "target"],
            code: 2, texts: ["two files of the chain are called full.qcow2"],
            script: "mkdir moved; mv one.qcow2 moved/full.qcow2"),
        Case(
            testDescription: "two data files of one name", arguments: ["--chain", ".", "top.qcow2", "target"],
            code: 2, texts: ["two files of the chain are called data"],
            script: """
                mkdir old new
                qemu-img create -q -f qcow2 -o data_file=old/data mid.qcow2 1M
                qemu-img create -q -f qcow2 -o data_file=new/data -b mid.qcow2 -F qcow2 top.qcow2
                cp new/data data
                """),
        Case(
            testDescription: "a protocol", texts: ["nbd://host/full.qcow2", "protocol 'nbd'", "qemu-img rebase -u"],
            script: "qemu-img rebase -u -b nbd://host/full.qcow2 -F qcow2 one.qcow2"),
        Case(
            testDescription: "a protocol, with a folder", arguments: ["--chain", ".", "one.qcow2", "target"],
            texts: ["protocol 'nbd'"], script: "qemu-img rebase -u -b nbd://host/full.qcow2 -F qcow2 one.qcow2"),
        Case(
            testDescription: "a folder recorded", arguments: ["--chain", ".", "one.qcow2", "target"],
            texts: ["backing file 'old/..' of one.qcow2: it ends in no name"],
            script: "qemu-img rebase -u -b old/.. -F qcow2 one.qcow2"),
    ]

    private static let targets = [
        Case(
            testDescription: "the target exists", arguments: ["one.qcow2", "disk.qcow2"],
            texts: ["disk.qcow2 exists (--force replaces it"]),
        Case(
            testDescription: "onto the tip", arguments: ["--force", "one.qcow2", "one.qcow2"], code: 2,
            texts: ["one.qcow2 is the source itself"]),
        Case(
            testDescription: "onto a link", arguments: ["--force", "one.qcow2", "full.qcow2"], code: 2,
            texts: ["full.qcow2 is part of the source's chain"]),
        Case(
            testDescription: "into a link", arguments: ["-n", "one.qcow2", "full.qcow2"], code: 2,
            texts: ["full.qcow2 is part of the source's chain"]),
        Case(
            testDescription: "onto a later backup", arguments: ["--force", "full.qcow2", "one.qcow2"], code: 2,
            texts: ["one.qcow2 is itself based on full.qcow2", "restore to another file"]),
        Case(
            testDescription: "into a later backup", arguments: ["-n", "full.qcow2", "one.qcow2"], code: 2,
            texts: ["one.qcow2 is itself based on full.qcow2"]),
        Case(
            testDescription: "a later backup replaced by a raw disk",
            arguments: ["--force", "-O", "raw", "full.qcow2", "one.qcow2"], code: 2,
            texts: ["one.qcow2 is itself based on full.qcow2"]),
        Case(
            testDescription: "onto a backup much later", arguments: ["--force", "full.qcow2", "two.qcow2"], code: 2,
            texts: ["two.qcow2 is itself based on full.qcow2"],
            script: "qemu-img create -q -f qcow2 -b one.qcow2 -F qcow2 two.qcow2"),
        Case(
            testDescription: "onto a later backup that was moved",
            arguments: ["--force", "--chain", "moved", "moved/full.qcow2", "moved/one.qcow2"], code: 2,
            texts: ["moved/one.qcow2 is itself based on moved/full.qcow2"],
            script: """
                qemu-img rebase -u -b "$PWD/full.qcow2" -F qcow2 one.qcow2
                mkdir moved; mv one.qcow2 full.qcow2 moved
                """),
        Case(
            testDescription: "a raw disk replaced", arguments: ["--force", "one.qcow2", "disk.raw"], code: 2,
            texts: ["disk.raw is no qcow2 image", "-O raw or -O qcow2"]),
        Case(
            testDescription: "into a raw disk", arguments: ["-n", "one.qcow2", "disk.raw"],
            texts: ["disk.raw: not a qcow2 image", "-O raw writes a plain disk"]),
        Case(
            testDescription: "a shorter target", arguments: ["-n", "-O", "raw", "one.qcow2", "disk.raw"], code: 2,
            texts: ["disk.raw has 1000000 bytes and the source 1048576"]),
        Case(
            testDescription: "compressed raw", arguments: ["-c", "-O", "raw", "one.qcow2", "target"], code: 2,
            texts: ["a raw target can't hold compressed clusters"]),
    ]

    /// Makes a disk and two backups of it, the second over the first, and other files.
    private func makeChain(in directory: TemporaryDirectory) async throws {
        try await Peers.create(directory.file("full.qcow2"), "", 1 << 20)
        try await Peers.io(directory.file("full.qcow2"), ["write -q -P 1 0 512k"])
        try await Program.qemuIMG.runSuccessfully(
            ["create", "-q", "-f", "qcow2", "-b", "full.qcow2", "-F", "qcow2", "one.qcow2"],
            directory: directory.path)
        try await Peers.io(directory.file("one.qcow2"), ["write -q -P 2 256k 512k"])
        try await Peers.create(directory.file("disk.qcow2"), "", 1 << 20)
        try directory.write([UInt8](repeating: 9, count: 1_000_000), to: "disk.raw")
    }

    @Test("refused, and nothing changed", arguments: chains + targets)
    func refused(_ item: Case) async throws {
        try await withTemporaryDirectory { directory in
            try await makeChain(in: directory)
            try await Program("bash").runSuccessfully(["-ec", item.script], directory: directory.path)
            let before = try directory.content()
            let result = try await Program.qcowbackup.run(["restore"] + item.arguments, directory: directory.path)
            #expect(result.exitCode == item.code, "\(result)")
            for text in item.texts { #expect(result.standardError.contains(text), "\(result)") }
            #expect(result.standardError.split(separator: "\n").count == 1, "\(result)")
            #expect(try directory.content() == before, "something changed")

            let asJSON = try await Program.qcowbackup.run(
                ["restore", "--output=json"] + item.arguments, directory: directory.path)
            #expect(asJSON.exitCode == item.code && asJSON.standardError.hasPrefix("{\""), "\(asJSON)")
        }
    }

    /// A chain that can't be followed, or leads elsewhere, keeps nothing from being replaced.
    @Test(arguments: ["gone.qcow2", "nbd://host/x", "disk.qcow2", "own.qcow2"])
    func replacedOverSomethingElse(backing: String) async throws {
        try await withTemporaryDirectory { directory in
            try await makeChain(in: directory)
            try await Peers.create(directory.file("own.qcow2"), "", 1 << 20)
            try await Program.qemuIMG.runSuccessfully(
                ["rebase", "-q", "-u", "-b", backing, "-F", "qcow2", "own.qcow2"], directory: directory.path)
            let result = try await Program.qcowbackup.run(
                ["restore", "-q", "--force", "one.qcow2", "own.qcow2"], directory: directory.path)
            #expect(result.exitCode == 0, "\(result)")
            try await Peers.expectEqual("one.qcow2", "qcow2", "own.qcow2", in: directory.path)
        }
    }

    /// What a cut-off chain still holds can be had, and the exit code says that it isn't all.
    @Test func salvage() async throws {
        try await withTemporaryDirectory { directory in
            try await makeChain(in: directory)
            try await Program("bash").runSuccessfully(
                ["-ec", "truncate -s -400000 full.qcow2"], directory: directory.path)
            let result = try await Program.qcowbackup.run(
                ["restore", "-O", "raw", "--on-source-error=ignore", "one.qcow2", "target"], directory: directory.path)
            #expect(result.exitCode == 3, "\(result)")
            #expect(result.standardError.contains("is zero in the target"), "\(result)")
            let bytes = try directory.read("target")
            #expect(bytes.count == 1 << 20)
            #expect(bytes[(256 << 10)..<(768 << 10)].allSatisfy { $0 == 2 })
        }
    }

    /// A virtual machine that uses the disk keeps its file from being replaced, one that writes to a backup keeps that
    /// from being read.
    @Test(arguments: QEMUHolder.present, [true, false])
    func locked(holder: QEMUHolder, isTarget: Bool) async throws {
        try await withTemporaryDirectory { directory in
            try await makeChain(in: directory)
            let used = directory.file(isTarget ? "disk.qcow2" : "full.qcow2")
            let running = try await holder.open(used)
            let names = try directory.names()
            for manner in isTarget ? ["--force", "-n"] : ["--force"] {
                let result = try await Program.qcowbackup.run(
                    ["restore", manner, directory.file("one.qcow2").string, directory.file("disk.qcow2").string])
                #expect(result.exitCode == 11, "\(result)")
                #expect(result.standardError.contains(used.string), "\(result)")
                #expect(result.standardError.contains("let that end first"), "\(result)")
                #expect(result.standardError.split(separator: "\n").count == 1, "\(result)")
            }
            #expect(try directory.names() == names)
            try await QEMUHolder.close(running)
            try await Program.qcowbackup.runSuccessfully(
                ["restore", "--force", directory.file("one.qcow2").string, directory.file("disk.qcow2").string])
            try await Peers.expectEqual(
                directory.file("one.qcow2").string, "qcow2", directory.file("disk.qcow2").string)
        }
    }
}
