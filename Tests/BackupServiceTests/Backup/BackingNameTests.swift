// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import BackupService

/// How a backup names what it is based on: relative to itself where the two can be moved together.
@Suite struct BackingNameTests {
    @Test(arguments: [
        ("/b/full", "/b", "full"), ("/b/c/full", "/b", "c/full"), ("/full", "/", "full"), ("/b/full", "/", "b/full"),
        ("/b/full", "/b/c", "../full"), ("/b/full", "/d", "../b/full"), ("/b/full", "/bb", "../b/full"),
        // The last part is a file's, whatever folder has its name.
        ("/b/c", "/b/c", "../c"), ("/b/c/d", "/b/c/d/e", "../../d"),
        // What stands before a colon would be a protocol.
        ("/b/a:b", "/b", "./a:b"), ("/b/json:{}", "/b", "./json:{}"), ("/b/c/a:b", "/b", "c/a:b"),
        ("/b/c:d/a", "/b", "./c:d/a"), ("/b/\u{e9}/x", "/b/e\u{301}", "../\u{e9}/x"),
    ])
    func relative(path: String, folder: String, name: String) {
        #expect(BackingName.relative(path, to: folder) == name)
    }

    struct Row: Sendable {
        var style: BackupRequest.BackingName
        var parent: String
        /// `nil` for the parent's path from the root on.
        var name: String?
        var isIncrement = true
    }

    @Test(arguments: [
        Row(style: .auto, parent: "backups/full", name: "full"),
        Row(style: .auto, parent: "backups/2026/full", name: "2026/full"), Row(style: .auto, parent: "elsewhere/full"),
        Row(style: .auto, parent: "full"), Row(style: .auto, parent: "backups/full", isIncrement: false),
        Row(style: .absolute, parent: "backups/full"),
        Row(style: .relative, parent: "backups/full", name: "full", isIncrement: false),
        Row(style: .relative, parent: "elsewhere/full", name: "../elsewhere/full"),
        Row(style: .relative, parent: "full", name: "../full"),
    ])
    func name(row: Row) throws {
        let directory = try TemporaryDirectory()
        for folder in ["backups/2026", "elsewhere"] {
            try FileManager.default.createDirectory(
                atPath: directory.file(folder).string, withIntermediateDirectories: true)
        }
        try FileManager.default.createSymbolicLink(
            atPath: directory.file("link").string, withDestinationPath: directory.file("backups").string)
        let parent = try directory.write([1], to: row.parent).string
        for folder in ["backups", "link"] {
            var request = BackupRequest(source: "disk", target: directory.file("\(folder)/monday").string)
            request.backingName = row.style
            let name = try BackingName(request).name(of: parent, isFixed: false, isIncrement: row.isIncrement)
            #expect(name == row.name ?? parent, "\(folder)")
        }
    }

    @Test func aDeviceHasNoRelativeName() async throws {
        var request = BackupRequest(source: "disk", target: "/tmp/monday")
        #expect(
            try BackingName(request).name(of: "/dev/vg/full", isFixed: true, isIncrement: true) == "/dev/vg/full")
        request.backingName = .relative
        let error = try await refusal {
            _ = try BackingName(request).name(of: "/dev/vg/full", isFixed: true, isIncrement: true)
        }
        #expect(error.code == .usage)
    }
}
