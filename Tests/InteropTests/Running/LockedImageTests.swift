// SPDX-License-Identifier: GPL-2.0-or-later

import SystemPackage
import TestSupport
import Testing

/// Disks that a running QEMU has open: what it writes to is refused with advice unless `-U` is given, and what it only
/// reads is read.
@Suite(.limited, .enabled(if: Peers.areInstalled, Peers.missing))
struct LockedImageTests {
    /// A chain of three, with a data file under the topmost image.
    private struct Chain {
        let top: FilePath
        let middle: FilePath
        let bottom: FilePath
        let data: FilePath

        init(in directory: TemporaryDirectory) async throws {
            top = directory.file("top.qcow2")
            middle = directory.file("middle.qcow2")
            bottom = directory.file("bottom.qcow2")
            data = directory.file("top.data")
            try await Peers.create(bottom, "", 1 << 20)
            try await Peers.io(bottom, ["write -q -P 1 0 512k"])
            try await Peers.create(middle, "", 1 << 20, backing: bottom)
            try await Peers.io(middle, ["write -q -P 2 128k 256k"])
            try await Peers.create(top, "data_file=\(data)", 1 << 20, backing: middle)
            try await Peers.io(top, ["write -q -P 3 256k 64k"])
        }

        /// The files that QEMU may have open for writing, and how.
        var files: [(path: FilePath, format: String)] {
            [(top, "qcow2"), (middle, "qcow2"), (bottom, "qcow2"), (data, "raw")]
        }
    }

    private func expectRefused(
        _ arguments: [String], because path: FilePath, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let result = try await Program.qcowbackup.run(arguments)
        #expect(result.exitCode == 11, "\(result)", sourceLocation: sourceLocation)
        let error = result.standardError
        #expect(error.split(separator: "\n").count == 1, "\(result)", sourceLocation: sourceLocation)
        #expect(error.contains(path.string), "\(result)", sourceLocation: sourceLocation)
    }

    @Test(arguments: QEMUHolder.present, 0..<4)
    func aWriterOfAnyFileKeepsUsOut(holder: QEMUHolder, index: Int) async throws {
        try await withTemporaryDirectory { directory in
            let chain = try await Chain(in: directory)
            let file = chain.files[index]
            let running = try await holder.open(file.path, format: file.format)
            let names = try directory.names()
            let target = directory.file("target.qcow2")

            try await expectRefused([chain.top.string, target.string], because: file.path)
            try await expectRefused(["--sync=top", "-c", chain.top.string, target.string], because: file.path)
            let advice = try await Program.qcowbackup.run([chain.top.string, target.string])
            #expect(advice.standardError.contains("NBD") && advice.standardError.contains("-U"), "\(advice)")
            let json = try await Program.qcowbackup.run(["--output=json", chain.top.string, target.string])
            #expect(json.exitCode == 11)
            #expect(json.standardError.contains(#""code":"locked""#), "\(json)")
            #expect(try directory.names() == names, "a target was left")

            // Nothing is written here while we read: what is copied is whole.
            try await Peers.backUp(chain.top, to: target, ["-U"])
            try await QEMUHolder.close(running)
            try await Peers.expectEqual(chain.top.string, "qcow2", target.string)
            try await Peers.backUp(chain.top, to: directory.file("later.qcow2"), [])
        }
    }

    @Test(arguments: QEMUHolder.present)
    func readersDoNotDisturb(holder: QEMUHolder) async throws {
        try await withTemporaryDirectory { directory in
            let chain = try await Chain(in: directory)
            let running = try await holder.open(chain.top, readOnly: true)
            let target = directory.file("target.qcow2")
            try await Peers.backUp(chain.top, to: target, [])
            try await QEMUHolder.close(running)
            try await Peers.expectEqual(chain.top.string, "qcow2", target.string)
        }
    }

    /// Two machines over one template: while one runs, the other one's disk can be backed up.
    @Test(arguments: QEMUHolder.present)
    func aWriterOfAnotherOverlayDoesNotDisturb(holder: QEMUHolder) async throws {
        try await withTemporaryDirectory { directory in
            let chain = try await Chain(in: directory)
            let other = directory.file("other.qcow2")
            try await Peers.create(other, "", 1 << 20, backing: chain.middle)
            let running = try await holder.open(other)
            for sync in ["full", "top"] {
                let target = directory.file("target-\(sync).qcow2")
                try await Peers.backUp(chain.top, to: target, ["--sync=\(sync)"])
                try await Peers.expectEqual(chain.top.string, "qcow2", target.string)
            }
            withExtendedLifetime(running) {}
        }
    }

    /// Nothing is written into, or put in the place of, an image that QEMU uses, be it only for reading.
    @Test(arguments: QEMUHolder.present, [true, false])
    func aTargetInUseIsRefused(holder: QEMUHolder, readOnly: Bool) async throws {
        try await withTemporaryDirectory { directory in
            let chain = try await Chain(in: directory)
            let target = directory.file("target.qcow2")
            try await Peers.create(target, "", 1 << 20)
            let before = try directory.read("target.qcow2")
            let running = try await holder.open(target, readOnly: readOnly)
            try await expectRefused(["-n", chain.top.string, target.string], because: target)
            try await expectRefused(["--force", chain.top.string, target.string], because: target)
            let advice = try await Program.qcowbackup.run(["-n", chain.top.string, target.string])
            #expect(!advice.standardError.contains("-U"), "reading it is not what was asked for: \(advice)")
            try await QEMUHolder.close(running)
            #expect(try directory.read("target.qcow2") == before)
            #expect(!directory.exists("target.qcow2.partial"))
        }
    }

    /// While we run, QEMU can neither open the target nor write to any file that we read.
    @Test(
        .enabled(if: Program.strace.isInstalled, "strace is missing"), arguments: [false, true])
    func qemuIsKeptOut(targetExists: Bool) async throws {
        try await withTemporaryDirectory { directory in
            let chain = try await Chain(in: directory)
            let target = directory.file("target.qcow2")
            if targetExists { try await Peers.create(target, "", 1 << 20) }
            let unfinished = targetExists ? target : directory.file("target.qcow2.partial")
            let stopped = try await StoppedBackup(
                (targetExists ? ["-n"] : []) + [chain.top.string, target.string], target: unfinished)

            for file in chain.files {
                let writer = try await Program.qemuIO.run(
                    ["-f", file.format, "-c", "write 0 64k", file.path.string])
                #expect(writer.exitCode != 0)
                #expect(writer.standardError.contains("lock"), "\(file): \(writer)")
                let reader = try await Program.qemuIO.run(
                    ["-r", "-f", file.format, "-c", "read 0 64k", file.path.string])
                #expect(reader.exitCode == 0, "\(file): \(reader)")
            }
            let user = try await Program.qemuIO.run(["-f", "raw", "-c", "read 0 512", unfinished.string])
            #expect(user.exitCode != 0)
            #expect(user.standardError.contains("lock"), "\(user)")
            // Who asks for no lock sees that it is no disk yet.
            let forced = try await Program.qemuIMG.run(["info", "-U", "-f", "qcow2", unfinished.string])
            #expect(forced.exitCode != 0, "\(forced)")
            // Neither can another run of ours.
            let second = try await Program.qcowbackup.run([
                targetExists ? "-n" : "--force", chain.top.string, target.string,
            ])
            #expect(second.exitCode == 11, "\(second)")

            let result = try await stopped.goOn()
            #expect(result.exitCode == 0, "\(result)")
            try await Peers.expectClean(target)
            try await Peers.expectEqual(chain.top.string, "qcow2", target.string)
            for file in chain.files {
                try await Peers.io(file.path, ["write -q 0 64k"], format: file.format)
            }
        }
    }
}
