// SPDX-License-Identifier: GPL-2.0-or-later

import SystemPackage
import TestSupport
import Testing

/// Images that this program doesn't read are refused by every command, with their format's name and what to do.
@Suite(.limited, .enabled(if: Peers.areInstalled, Peers.missing))
struct OtherFormatsTests {
    static let formats = [
        ("vmdk", "VMDK"), ("vdi", "VDI"), ("vhdx", "VHDX"), ("vpc", "VHD"), ("qed", "QED"), ("parallels", "Parallels"),
        ("qcow", "qcow version 1"),
    ]

    @Test(arguments: formats) func refused(format: String, name: String) async throws {
        try await withTemporaryDirectory { directory in
            let (disk, other) = (directory.file("disk.qcow2"), directory.file("other.img"))
            try await Peers.create(disk, "", 1 << 20)
            try await Peers.io(disk, ["write -P 1 0 64k"])
            try await Program.qemuIMG.runSuccessfully(["convert", "-O", format, disk.string, other.string])
            try await Program.qcowbackup.runSuccessfully(["bitmap", "add", disk.string, "b0"])
            let content = try directory.content()
            let new = directory.file("new.qcow2").string
            let commands: [[String]] = [
                ["-q", other.string, new], ["--sync=top", other.string, new], ["-q", "-n", disk.string, other.string],
                ["--sync=incremental", "--bitmap=b0", "-b", other.string, disk.string, new],
                ["restore", other.string, new], ["verify", other.string], ["info", other.string],
                ["map", other.string], ["compare", disk.string, other.string], ["compare", other.string, disk.string],
                ["check", other.string], ["check", "-f", "qcow2", other.string], ["bitmap", "list", other.string],
                ["verify", "--against=\(other.string)", disk.string],
            ]
            for command in commands {
                let result = try await Program.qcowbackup.run(command)
                #expect(result.exitCode != 0 && result.exitCode < 128, "\(command): \(result)")
                #expect(
                    result.standardError.contains("the format of this file, \(name), is not"), "\(command): \(result)")
                #expect(try directory.content() == content, "\(command)")
            }
            // As the raw disk that it is not, where the user says so.
            try await Program.qcowbackup.runSuccessfully(["-q", "-f", "raw", "-O", "raw", other.string, new])
            #expect(haveSameBytes(try directory.read("new.qcow2"), try directory.read("other.img")))
        }
    }
}
