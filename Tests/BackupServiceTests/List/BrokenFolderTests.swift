// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Foundation
import SystemPackage
import TestSupport
import Testing

@testable import BackupService

/// What is broken or left over is told where it is, and everything else is listed as before.
@Suite struct BrokenFolderTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let testDescription: String
        /// The images that have problems; all others of the folder have none.
        let problems: [String: [BackupProblem.Kind]]
        var strays: [String: FolderStray.Kind] = [:]
        /// Images that can't be restored.
        var unusable: Set<String> = []
        let change: @Sendable (BackupShelf) async throws -> Void
    }

    private static let all: Set<String> = ["a-full.qcow2", "b.qcow2", "c.qcow2", "d.qcow2", "e.qcow2"]

    static let missing: [Case] = [
        Case(
            testDescription: "the base is gone",
            problems: ["b.qcow2": [.parentMissing], "c.qcow2": [.parentMissing], "d.qcow2": [.parentMissing]],
            strays: ["a-full.qcow2.manifest": .manifest], unusable: all
        ) { try $0.remove("a-full.qcow2") },
        Case(
            testDescription: "an increment is gone, with its manifest", problems: ["e.qcow2": [.parentMissing]],
            unusable: ["e.qcow2"]
        ) {
            try $0.remove("d.qcow2")
            try $0.remove("d.qcow2.manifest")
        },
        Case(testDescription: "a manifest is gone", problems: [:]) { try $0.remove("d.qcow2.manifest") },
        Case(
            testDescription: "a backup was renamed", problems: ["e.qcow2": [.parentMissing]],
            strays: ["d.qcow2.manifest": .manifest], unusable: ["e.qcow2"]
        ) { try $0.move("d.qcow2", to: "renamed.qcow2") },
        Case(
            testDescription: "a state is left", problems: [:],
            strays: ["x.qcow2.verified": .verified]
        ) { shelf in
            try await BackupShelf.patiently {
                let backup = try await ManifestFile(besides: shelf.file("b.qcow2")).header()
                try await VerifyState(of: backup, in: #require(StoredFiles([]))).write(
                    to: shelf.file("x.qcow2.verified"))
            }
        },
        Case(
            testDescription: "a manifest is unfinished", problems: [:],
            strays: ["b.qcow2.manifest.partial": .unfinished]
        ) { try $0.write(UnfinishedMark.sector, to: "b.qcow2.manifest.partial") },
        // Its run was killed before it could rename it.
        Case(testDescription: "a manifest has not got its name", problems: [:]) {
            try $0.move("b.qcow2.manifest", to: "b.qcow2.manifest.partial")
        },
    ]

    static let other: [Case] = [
        Case(
            testDescription: "the base is another backup",
            problems: ["b.qcow2": [.parentReplaced], "c.qcow2": [.parentReplaced], "d.qcow2": [.parentReplaced]],
            unusable: all.subtracting(["a-full.qcow2"])
        ) { shelf in
            try await shelf.backUp("a-full.qcow2") { $0.existingTarget = .replace }
        },
        Case(
            testDescription: "the base is no image any more",
            problems: ["a-full.qcow2": [.unreadable]], unusable: all
        ) { try $0.write([UInt8](repeating: 1, count: 4096), to: "a-full.qcow2") },
        Case(
            testDescription: "manifests have changed places",
            problems: ["b.qcow2": [.manifestForeign], "c.qcow2": [.manifestForeign]]
        ) { shelf in
            try shelf.move("b.qcow2.manifest", to: "x")
            try shelf.move("c.qcow2.manifest", to: "b.qcow2.manifest")
            try shelf.move("x", to: "c.qcow2.manifest")
        },
        Case(testDescription: "a manifest was cut off", problems: ["c.qcow2": [.manifestDamaged]]) { shelf in
            try shelf.change("c.qcow2.manifest") { $0.removeLast() }
        },
        Case(testDescription: "a manifest is of a later version", problems: ["c.qcow2": [.manifestDamaged]]) { shelf in
            try shelf.change("c.qcow2.manifest") { $0[20] = UInt8(ascii: "2") }
        },
        Case(
            testDescription: "a head is blank", problems: ["e.qcow2": [.unfinished]], unusable: ["e.qcow2"]
        ) { shelf in
            try shelf.change("e.qcow2") { $0.replaceSubrange(0..<65536, with: repeatElement(0, count: 65536)) }
        },
        Case(
            testDescription: "a backup was cut off", problems: ["d.qcow2": [.unreadable]],
            unusable: ["d.qcow2", "e.qcow2"]
        ) { shelf in
            try shelf.change("d.qcow2") { $0.removeSubrange(300...) }
        },
        Case(testDescription: "a backup was put on nothing", problems: ["b.qcow2": [.rebased]]) { shelf in
            try shelf.change("b.qcow2") { $0.replaceSubrange(8..<20, with: repeatElement(0, count: 12)) }
            // Nobody knows whether its content came along.
            #expect(try await shelf.verify("b.qcow2") == .unproven)
        },
        Case(testDescription: "a backup is empty", problems: ["e.qcow2": [.unreadable]], unusable: ["e.qcow2"]) {
            try $0.write([], to: "e.qcow2")
        },
    ]

    @Test(arguments: missing + other) func one(_ broken: Case) async throws {
        let shelf = try await BackupShelf()
        try await shelf.fill()
        let before = try await shelf.list()
        #expect(before.isSound)
        try await broken.change(shelf)
        let folder = try await shelf.list()
        for node in folder.nodes {
            let expected = broken.problems[node.name] ?? []
            #expect(Set(node.problems.map(\.kind)) == Set(expected), "\(node.name): \(node.problems)")
            #expect(node.isUsable == !broken.unusable.contains(node.name), "\(node.name)")
        }
        #expect(Set(broken.problems.keys).isSubset(of: folder.nodes.map(\.name)))
        #expect(
            Dictionary(uniqueKeysWithValues: folder.strays.map { ($0.name, $0.kind) }) == broken.strays)
        let isFine = broken.strays.isEmpty && broken.problems.isEmpty
        #expect(folder.isSound == isFine)
    }

    /// Where all were moved together, they are found, and the user told how they can be read that name each other from the
    /// root on.
    @Test(arguments: [BackupRequest.BackingName.absolute, .auto])
    func movedFolder(naming: BackupRequest.BackingName) async throws {
        var shelf = try await BackupShelf()
        shelf.backingName = naming
        try await shelf.fill()
        let before = try await shelf.list()
        let moved = shelf.directory.file("moved").string
        try FileManager.default.moveItem(atPath: shelf.path, toPath: moved)
        let folder = try await ListOperation(folder: moved, warn: { _ in }).run()
        #expect(folder.nodes.map(\.name) == before.nodes.map(\.name))
        #expect(folder.nodes.map(\.parent) == before.nodes.map(\.parent))
        let expected: [BackupProblem.Kind] = naming == .absolute ? [.parentMoved] : []
        #expect(folder.nodes.dropFirst().allSatisfy { $0.problems.map(\.kind) == expected && $0.isUsable })
    }

    @Test func unreadableParts() async throws {
        let shelf = try await BackupShelf()
        try await shelf.backUp("a")
        let extent = #""unreadable":[{"length":18446744073709551615,"start":9},{"length":9,"start":0}]"#
        try shelf.change("a.manifest") { bytes in
            let lines = bytes.split(separator: UInt8(ascii: "\n"), maxSplits: 2, omittingEmptySubsequences: false)
            let header = String(decoding: lines[1], as: UTF8.self).replacing(#""unreadable":[]"#, with: extent)
            bytes = Array([lines[0], ArraySlice(header.utf8), lines[2]].joined(separator: [UInt8(ascii: "\n")]))
        }
        let folder = try await shelf.list()
        #expect(folder.problems("a") == [.incomplete])
        #expect(folder["a"]?.isUsable == true)
    }

    /// Whatever the bytes are, each file is listed, and nothing traps.
    @Test func damage() async throws {
        let shelf = try await BackupShelf()
        try await shelf.fill()
        #expect(try await shelf.verify("e.qcow2") == .proven)
        let files = ["d.qcow2", "d.qcow2.manifest", "d.qcow2.verified", "e.qcow2"]
        let originals = try files.map { try shelf.read($0) }
        for seed in 1...150 as ClosedRange<UInt64> {
            var random = SeededRandom(seed: seed)
            for (name, original) in zip(files, originals) where Bool.random(using: &random) {
                var bytes = original
                let reach = min(bytes.count, 1200)
                for _ in 0..<Int.random(in: 1...6, using: &random) {
                    let index = Int.random(in: 0..<reach, using: &random)
                    bytes[index] = Bool.random(using: &random) ? .random(in: 0...255, using: &random) : 0x39
                }
                if Int.random(in: 0..<5, using: &random) == 0 {
                    bytes.removeSubrange(Int.random(in: 0..<bytes.count, using: &random)...)
                }
                try shelf.write(bytes, to: name)
            }
            let folder = try await shelf.list()
            #expect(Self.all.isSubset(of: folder.nodes.map(\.name)), "seed \(seed)")
            #expect(folder.nodes.count == Self.all.count, "seed \(seed)")
            for index in folder.nodes.indices { #expect(folder.chain(of: index).count <= folder.nodes.count) }
            for (name, original) in zip(files, originals) { try shelf.write(original, to: name) }
        }
        #expect(try await shelf.list().isSound)
    }
}
