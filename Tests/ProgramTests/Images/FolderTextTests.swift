// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DiskChain
import Foundation
import Qcow2Format
import TestSupport
import Testing

@testable import BackupService
@testable import qcowbackup

/// How the backups of a folder are printed.
@Suite struct FolderTextTests {
    private static let time = Date(timeIntervalSince1970: 1_795_141_800)

    private static func node(
        _ name: String, _ sync: String?, parent: BackupNode.Parent, _ change: (inout BackupNode) -> Void = { _ in }
    ) throws -> BackupNode {
        let identity = try #require(try FileStatus(path: "/")).identity
        var node = BackupNode(
            FolderEntry(name: name, path: "dir/" + name, identity: identity, length: 1_181_116_006, modified: time),
            format: .qcow2)
        node.virtualSize = 100 << 30
        node.sync = sync
        node.isBackup = sync != nil
        node.parent = parent
        change(&node)
        return node
    }

    private static func folder() throws -> BackupFolder {
        let nodes = try [
            node("full.qcow2", "full", parent: .outside("/vm/\u{1b}base")),
            node("monday.qcow2", "incremental", parent: .here(0)) {
                $0.parentName = "full.qcow2"
                $0.parentID = "12ab"
                $0.proof.state = .bad
                $0.proof.badRanges = 3
                $0.proof.checked = time
                $0.manifest = .foreign("of another")
                $0.problems = [BackupProblem(.parentReplaced, "was made on\nanother")]
            },
            node("tues\u{1b}[2Jday.qcow2", "incremental", parent: .here(1)) { $0.isInUse = true },
            node("image.qcow2", nil, parent: .none) { $0.created = Date(timeIntervalSince1970: 1e300) },
        ]
        let strays = [FolderStray(name: "x\n.partial", kind: .unfinished, length: 5, message: "is unfinished")]
        return BackupFolder(path: "dir", nodes: ChainOrder(nodes).nodes, strays: strays)
    }

    @Test func text() throws {
        let made = DateText(Self.time).minute
        let text = FolderText(try Self.folder()).description
        #expect(
            text == """
                NAME                        MADE              MODE         DISK     FILE     PROVEN
                full.qcow2                  \(made)  full         100 GiB  1.1 GiB  no manifest
                  on /vm/\\u{1B}base (outside)
                  monday.qcow2              \(made)  incremental  100 GiB  1.1 GiB  -
                    ! was made on\\nanother
                    tues\\u{1B}[2Jday.qcow2  \(made)  incremental  100 GiB  1.1 GiB  no manifest
                      is in use by another program
                image.qcow2                 -                 image        100 GiB  1.1 GiB  -

                Other files:
                  x\\n.partial is unfinished

                """)
        #expect(FolderText(BackupFolder(path: "a\n", nodes: [], strays: [])).description == "a\\n: no backups\n")
    }

    /// A chain of short names, as deep as they are made, fits a terminal.
    @Test func width() throws {
        var nodes = [try Self.node("full.qcow2", "full", parent: .none)]
        for index in 1...200 {
            nodes.append(
                try Self.node("d\(index)", "incremental", parent: .here(index - 1)) {
                    $0.manifest = .damaged("")
                })
        }
        nodes[0].manifest = .damaged("")
        let text = FolderText(BackupFolder(path: "dir", nodes: ChainOrder(nodes).nodes, strays: [])).description
        for line in text.split(separator: "\n") { #expect(line.count <= 80, "\(line)") }
        #expect(text.contains("\n            (200) d200  "))
    }

    @Test func json() throws {
        let text = JSONLine.folder(try Self.folder())
        let root = try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
        #expect(!text.contains("\n"))
        #expect(root["folder"] as? String == "dir")
        #expect(root["sound"] as? Bool == false)
        let backups = try #require(root["backups"] as? [[String: Any]])
        #expect(backups.compactMap { $0["name"] as? String }.count == 4)
        let monday = try #require(backups.first { $0["name"] as? String == "monday.qcow2" })
        #expect(monday["virtual-size"] as? Int == 100 << 30)
        #expect(monday["length"] as? Int == 1_181_116_006)
        #expect(monday["created"] as? String == "2026-11-20T02:30:00Z")
        #expect(monday["created-from"] as? String == "file")
        #expect(monday["manifest"] as? String == "foreign")
        #expect(monday["manifest-problem"] as? String == "of another")
        #expect(monday["usable"] as? Bool == false)
        let parent = try #require(monday["parent"] as? [String: String])
        #expect(parent == ["file": "full.qcow2", "id": "12ab", "name": "full.qcow2", "state": "present"])
        let verified = try #require(monday["verified"] as? [String: Any])
        #expect(verified["state"] as? String == "bad")
        #expect(verified["bad"] as? Int == 3)
        #expect(verified["checked"] as? String == "2026-11-20T02:30:00Z")
        #expect(verified["proven"] == nil)
        let problems = try #require(monday["problems"] as? [[String: String]])
        #expect(problems == [["kind": "parent-replaced", "message": "was made on\nanother"]])
        let full = try #require(backups.first { $0["name"] as? String == "full.qcow2" }?["parent"] as? [String: String])
        #expect(full == ["state": "outside", "path": "/vm/\u{1b}base"])
        let image = try #require(backups.first { $0["name"] as? String == "image.qcow2" })
        #expect(image["backup"] as? Bool == false)
        #expect(image["parent"] == nil && image["created"] == nil && image["sync"] == nil)
        let strays = try #require(root["strays"] as? [[String: Any]])
        #expect(strays.count == 1 && strays[0]["kind"] as? String == "unfinished")
    }

    /// From the command line to the exit code.
    @Test func command() async throws {
        let directory = try TemporaryDirectory()
        let run = { (arguments: [String]) in
            let (output, errors) = (try Pipe(), try Pipe())
            let status = await onThread {
                let console = Console(output: output.writer, errors: errors.writer)
                return Program.run(arguments, in: ProgramEnvironment(console: console, abandon: { _ in })).code
            }
            return (status, output.closeAndRead(), errors.closeAndRead())
        }
        let path = "\(directory.path)"
        #expect(try await run(["list", path]) == (0, "\(path): no backups\n", ""))
        let image = try LocalStorage.open(path + "/a.qcow2", access: .create, lock: nil)
        try await Qcow2Image.create(Qcow2Options(size: 1 << 20), in: image).close()
        let text = try await run(["list", path])
        #expect(text.0 == 0)
        #expect(text.1.contains("\na.qcow2  "))
        try directory.write([1], to: "b.qcow2")
        let broken = try await run(["list", "--json", path])
        #expect(broken.0 == 1)
        #expect(broken.2 == "")
        #expect(broken.1.contains(#""kind":"unreadable""#))
        #expect(try await run(["list", "--output=json", path]) == broken)
        let absent = try await run(["list", path + "/absent"])
        #expect(absent.0 == 1)
        #expect(absent.2.hasPrefix("qcowbackup: \(path)/absent: "))
    }

    @Test(
        arguments: [
            (0, "1970-01-01T00:00:00Z"), (0.9, "1970-01-01T00:00:00Z"), (-1, "1969-12-31T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"), (253_402_300_799, "9999-12-31T23:59:59Z"),
            (-62_135_596_800, "0001-01-01T00:00:00Z"), (253_402_300_800, nil), (-1e11, nil), (1e300, nil),
            (-.infinity, nil), (.nan, nil),
        ] as [(Double, String?)])
    func dates(seconds: Double, text: String?) {
        let date = Date(timeIntervalSince1970: seconds)
        #expect(DateText.utc(date) == text)
        #expect((DateText(date).minute == "-") == (text == nil))
    }

    /// What info says of a manifest, in lines of its own.
    @Test func manifestOfAnImage() throws {
        func report(_ state: ManifestState) -> InfoReport {
            var image = ImageReport(path: "a", format: .raw, virtualSize: 512, actualSize: 512)
            image.manifest = ManifestReport(path: "a.manifest", state: state, proof: ProofRecord())
            return InfoReport(images: [image], problems: [])
        }
        let text = InfoText(report(.damaged("it was\ncut off"))).description
        #expect(text.hasSuffix("disk size: 512 B\nmanifest: a.manifest: not usable: it was\\ncut off\n"))
        let json = InfoJSON(report(.foreign("of b")), isList: false).description
        let root = try #require(try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any])
        let manifest = try #require((root["qcowbackup"] as? [String: Any])?["manifest"] as? [String: String])
        #expect(manifest == ["file": "a.manifest", "state": "foreign", "reason": "of b"])
    }
}
