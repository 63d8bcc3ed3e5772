// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import SystemPackage
import TestSupport
import Testing

/// Chains that are moved or copied: QEMU opens them, and so does every command.
@Suite(.limited, .enabled(if: ChainNeeds.all, ChainNeeds.comment))
struct ChainMoveTests {
    private static func move(_ name: String, of directory: TemporaryDirectory, to folder: String) throws {
        let target = directory.file(folder)
        try FileManager.default.createDirectory(atPath: target.string, withIntermediateDirectories: true)
        for file in [name, name + ".manifest"] where directory.exists(file) {
            try FileManager.default.moveItem(
                atPath: directory.file(file).string, toPath: target.appending(FilePath(file).lastComponent!).string)
        }
    }

    @Test func movedAsAWhole() async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await ChainedDisk(in: directory, length: 4 << 20, seed: 41)
            try await disk.backUp(["--bitmap", "b0", "--create-bitmap"])
            try await disk.change(2)
            try await disk.increment()
            try await disk.change(2)
            try await disk.increment()
            for index in 0...2 { try Self.move("point\(index).qcow2", of: directory, to: "moved") }
            let moved = directory.file("moved")
            for index in 0...2 {
                let (point, copy) = (moved.appending("point\(index).qcow2"), disk.points[index].copy)
                try await Peers.expectClean(point)
                try await Peers.expectEqual(copy.string, "qcow2", point.string)
                try await Program.qcowbackup.runSuccessfully(["compare", copy.string, point.string])
                try await Program.qcowbackup.runSuccessfully(["verify", point.string])
                try await Program.qcowbackup.runSuccessfully(["info", "--backing-chain", point.string])
            }
            try await Program.qcowbackup.runSuccessfully(["list", moved.string])
            let restored = directory.file("restored.qcow2")
            try await Program.qcowbackup.runSuccessfully([
                "restore", "-q", moved.appending("point2.qcow2").string, restored.string,
            ])
            try await Peers.expectEqual(disk.points[2].copy.string, "qcow2", restored.string)
            // The chain goes on there.
            try await disk.change(2)
            let next = moved.appending("next.qcow2")
            try await Peers.backUp(
                disk.path, to: next,
                ["--sync=incremental", "--bitmap=b0", "-b", moved.appending("point2.qcow2").string])
            try await Peers.expectEqual(disk.path.string, "qcow2", next.string)
        }
    }

    /// A chain with absolute names is found in the folder to which it was moved, and so is the parent by its old path.
    @Test(arguments: ["moved/point1.qcow2", "point1.qcow2"])
    func absoluteNames(parent: String) async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await ChainedDisk(in: directory, length: 4 << 20, seed: 42)
            try await disk.backUp(["--bitmap", "b0", "--create-bitmap"])
            try await disk.change(2)
            try await disk.increment("b0", ["--backing-name=absolute"])
            #expect(try await Peers.info(disk.last).backingFileName == disk.points[0].backup.string)
            for index in 0...1 { try Self.move("point\(index).qcow2", of: directory, to: "moved") }
            try await disk.change(2)
            let arguments = ["--sync=incremental", "--bitmap=b0", "-b", directory.file(parent).string]
            let next = directory.file("moved/next.qcow2")
            let refused = try await Program.qcowbackup.run(arguments + [disk.path.string, next.string])
            #expect(refused.exitCode == 1, "\(refused)")
            try await Peers.backUp(
                disk.path, to: next, arguments + ["--chain=\(directory.file("moved").string)"])
            #expect(try await Peers.info(next).backingFileName == "point1.qcow2")
            let restored = directory.file("restored.qcow2")
            try await Program.qcowbackup.runSuccessfully([
                "restore", "-q", "--chain=\(directory.file("moved").string)", next.string, restored.string,
            ])
            try await Peers.expectEqual(disk.path.string, "qcow2", restored.string)
        }
    }

    @Test func namesOfParentsElsewhere() async throws {
        try await withTemporaryDirectory { directory in
            var disk = try await ChainedDisk(in: directory, length: 4 << 20, seed: 43)
            try await disk.backUp(["--bitmap", "b0", "--create-bitmap"])
            try FileManager.default.createDirectory(
                atPath: directory.file("other").string, withIntermediateDirectories: false)
            let arguments = ["--sync=bitmap", "--bitmap=b0", "--bitmap-mode=never", "-b", disk.last.string]
            for (style, name) in [
                ("auto", disk.last.string), ("absolute", disk.last.string), ("relative", "../point0.qcow2"),
            ] {
                let target = directory.file("other/\(style).qcow2")
                try await Peers.backUp(disk.path, to: target, arguments + ["--backing-name=\(style)"])
                #expect(try await Peers.info(target).backingFileName == name)
                try await Peers.expectEqual(disk.path.string, "qcow2", target.string)
                try await Program.qcowbackup.runSuccessfully(["verify", target.string])
            }
        }
    }
}
