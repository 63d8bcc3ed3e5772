// SPDX-License-Identifier: GPL-2.0-or-later

import Glibc
import SystemPackage
import TestSupport
import Testing

/// A file system of its own in a file, whose files can share blocks.
enum LoopFileSystem: String, CaseIterable {
    case btrfs, xfs

    /// Bytes; about the least that both take.
    private static let length = 320 << 20

    private var maker: Program { Program("mkfs.\(rawValue)") }

    /// Those that the machine can mount.
    static let available: [LoopFileSystem] = {
        guard LoopDevice.areAvailable else { return [] }
        return allCases.filter(\.maker.isInstalled)
    }()

    /// Calls `body` with the folder under which it is mounted.
    func with(in directory: TemporaryDirectory, _ body: (String) async throws -> Void) async throws {
        let file = try directory.write([], to: "filesystem.\(rawValue)").string
        try #require(truncate(file, off_t(Self.length)) == 0)
        let folder = directory.file("mounted").string
        try #require(mkdir(folder, 0o755) == 0)
        try await maker.runSuccessfully(["-q", file])
        try await Program("mount").runSuccessfully(["-o", "loop", file, folder])
        do {
            try await body(folder)
        } catch {
            try await Program("umount").runSuccessfully([folder])
            throw error
        }
        try await Program("umount").runSuccessfully([folder])
    }
}
