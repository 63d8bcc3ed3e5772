// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import SystemPackage
import TestSupport
import Testing

/// A disk that QEMU changes, its backups, and for each of them a copy of the disk as it was then.
struct ChainedDisk {
    struct Point {
        let backup: FilePath
        let copy: FilePath
    }

    let directory: TemporaryDirectory
    let path: FilePath
    private(set) var length: UInt64
    private(set) var points: [Point] = []
    var random: SeededRandom

    /// The backup that was made last.
    var last: FilePath { points[points.count - 1].backup }

    init(
        in directory: TemporaryDirectory, length: UInt64, _ options: String = "", changes: Int = 4, seed: UInt64
    ) async throws {
        self.directory = directory
        self.length = length
        path = directory.file("disk.qcow2")
        random = SeededRandom(seed: seed)
        try await Peers.create(path, options, length)
        if changes > 0 { try await change(changes) }
    }

    /// Random writes, zero writes and discards of whole sectors, in one process of QEMU, which keeps the bitmaps.
    mutating func change(_ count: Int, alignment: UInt64 = 512) async throws {
        var commands: [String] = []
        for _ in 0..<count {
            let range = random.range(below: length, alignment: alignment)
            let (start, count) = (range.lowerBound, range.count)
            switch Int.random(in: 0..<6, using: &random) {
            case 0: commands.append("write -q -z \(start) \(count)")
            case 1: commands.append("write -q -z -u \(start) \(count)")
            case 2: commands.append("discard -q \(start) \(count)")
            default: commands.append("write -q -P \(UInt8.random(in: 1...255, using: &random)) \(start) \(count)")
            }
        }
        try await io(commands)
    }

    func io(_ commands: [String]) async throws {
        let result = try await Program.qemuIO.runSuccessfully(
            ["-t", "unsafe", "-d", "unmap", "-f", "qcow2"] + commands.flatMap { ["-c", $0] } + [path.string])
        try #require(!result.standardOutput.contains("failed"), "\(commands): \(result)")
    }

    mutating func resize(to length: UInt64, preallocation: String = "off") async throws {
        let how = length < self.length ? ["--shrink"] : ["--preallocation=\(preallocation)"]
        try await Program.qemuIMG.runSuccessfully(
            ["resize", "-q", "-f", "qcow2"] + how + [path.string, "\(length)"])
        self.length = length
    }

    /// Where the next backup goes.
    var next: FilePath { directory.file("point\(points.count).qcow2") }

    /// Makes a backup, which must succeed and say nothing, and keeps a copy of the disk.
    mutating func backUp(_ arguments: [String]) async throws {
        let target = next
        try await Peers.backUp(path, to: target, arguments)
        try keep(target)
    }

    /// Makes the next increment over the last backup.
    mutating func increment(_ bitmap: String = "b0", _ arguments: [String] = []) async throws {
        try await backUp(["--sync=incremental", "--bitmap", bitmap, "-b", last.string] + arguments)
    }

    /// Makes an increment over a backup that is no point of its own.
    mutating func backUpOver(_ parent: FilePath, to target: FilePath) async throws {
        try await Peers.backUp(path, to: target, ["--sync=incremental", "--bitmap=b0", "-b", parent.string])
        try keep(target)
    }

    /// Notes that a backup shows the disk as it is now.
    mutating func keep(_ backup: FilePath) throws {
        let copy = directory.file("copy\(points.count).qcow2")
        try FileManager.default.copyItem(atPath: path.string, toPath: copy.string)
        points.append(Point(backup: backup, copy: copy))
    }

    /// Every backup shows the disk as it was, and neither it nor the disk has an error or a leak.
    func judge(about comment: @autoclosure () -> Comment? = nil) async throws {
        for point in points {
            try await Peers.expectClean(point.backup, about: comment())
            try await Peers.expectEqual(point.copy.string, "qcow2", point.backup.string, about: comment())
        }
        try await Peers.expectClean(path, about: comment())
    }

    /// The last backup, flattened by QEMU, shows the disk as it was.
    func judgeFlattened() async throws {
        let flat = directory.file("flat.raw")
        try await Program.qemuIMG.runSuccessfully(["convert", "-O", "raw", last.string, flat.string])
        try await Peers.expectEqual(points[points.count - 1].copy.string, "qcow2", flat.string, "raw")
    }

    /// What a bitmap marks, as QEMU sees it.
    func dirty(_ bitmap: String = "b0") async throws -> [Range<UInt64>] {
        try await BitmapPeers.areas(of: bitmap, in: path)
    }
}

/// Conditions of the tests.
enum ChainNeeds {
    static let all = Peers.areInstalled && BitmapPeers.areInstalled
    static let comment: Comment = "qcowbackup, qemu-img, qemu-io, qemu-nbd or nbdinfo is missing"
}
