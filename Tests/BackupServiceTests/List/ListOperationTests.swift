// SPDX-License-Identifier: GPL-2.0-or-later

import BackupManifest
import BlockIO
import DiskChain
import Foundation
import Glibc
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

@testable import BackupService

/// What is listed of folders that are in order: every backup once, below what it is based on.
@Suite struct ListOperationTests {
    @Test func chains() async throws {
        let shelf = try await BackupShelf()
        try await shelf.fill()
        try await shelf.backUp("f.raw") { $0.targetFormat = .raw }
        try await shelf.backUp("plain.qcow2") { $0.digest = nil }
        let start = Date()
        let folder = try await shelf.list()
        let names = ["a-full.qcow2", "b.qcow2", "c.qcow2", "d.qcow2", "e.qcow2", "f.raw"]
        #expect(folder.nodes.map(\.name).filter { $0 != "plain.qcow2" } == names)
        #expect(folder.isSound)
        #expect(folder.strays.isEmpty)

        let full = try #require(folder["a-full.qcow2"])
        #expect(full.children.map { folder.nodes[$0].name } == ["b.qcow2", "c.qcow2", "d.qcow2"])
        #expect(full.sync == "full")
        #expect(full.virtualSize == 4 << 20)
        #expect(full.length == UInt64(try shelf.read("a-full.qcow2").count))
        #expect(full.isDated && abs(full.created.timeIntervalSince(start)) < 600)
        #expect(folder.nodes.prefix(6).map(\.depth) == [0, 1, 1, 1, 2, 0])
        #expect(folder["b.qcow2"]?.sync == "bitmap")
        let last = try #require(folder["e.qcow2"])
        #expect(last.sync == "incremental")
        #expect(last.parent == .here(3))
        #expect(last.parentID == folder["d.qcow2"]?.id)
        #expect(last.parentName == "d.qcow2")
        #expect(folder.chain(of: 4).map { folder.nodes[$0].name } == ["e.qcow2", "d.qcow2", "a-full.qcow2"])

        let raw = try #require(folder["f.raw"])
        #expect(raw.format == .raw && raw.isBackup && raw.sync == "full" && raw.parent == .none)
        let plain = try #require(folder["plain.qcow2"])
        #expect(plain.manifest == .missing && plain.isBackup && !plain.isDated && plain.sync == nil && plain.id != nil)
        for node in folder.nodes where node.name != "plain.qcow2" {
            #expect(node.manifest.header != nil)
            #expect(node.proof == ProofRecord())
        }
        #expect(folder.nodes.allSatisfy { $0.isUsable })
        #expect(Set(folder.nodes.compactMap(\.id)).count == 7)
    }

    @Test func proofs() async throws {
        let shelf = try await BackupShelf()
        try await shelf.fill()
        try await shelf.backUp("raw") { $0.targetFormat = .raw }
        #expect(try await shelf.verify("e.qcow2") == .proven)
        #expect(try await shelf.verify("raw", .sample(0.5)) == .sound)
        var folder = try await shelf.list()
        for name in ["a-full.qcow2", "d.qcow2", "e.qcow2"] {
            #expect(folder[name]?.proof.state == .proven)
            #expect(folder[name]?.proof.proven != nil)
        }
        #expect(folder["b.qcow2"]?.proof.state == .never)
        #expect(folder["raw"]?.proof.state == .partly)
        #expect(folder.isSound)

        try shelf.change("raw") { $0[(1 << 20) + 7] ^= 1 }
        #expect(try await shelf.verify("raw") == .bad)
        folder = try await shelf.list()
        #expect(folder["raw"]?.proof.state == .bad)
        #expect(folder["raw"]?.proof.badRanges == 1)
        #expect(folder.problems("raw") == [.badContent])
        #expect(folder["raw"]?.isUsable == false)

        // An entry of the refcount table that leads nowhere: nothing that is read changes.
        try shelf.change("b.qcow2") { bytes in
            let table = bytes[48..<56].reduce(0) { $0 << 8 | Int($1) }
            bytes[table + 15] = 1
        }
        #expect(try await shelf.verify("b.qcow2") == .bad)
        folder = try await shelf.list()
        #expect(folder["b.qcow2"]?.proof.state == .bad)
        #expect(folder["b.qcow2"]?.proof.badRanges == 0)
        #expect(folder.problems("b.qcow2") == [.badContent])
    }

    /// What was found of other content, or before the backup was made again, says nothing of it.
    @Test func proofsOfAnotherBackup() async throws {
        let shelf = try await BackupShelf()
        try await shelf.backUp("a")
        try await shelf.backUp("b")
        let (one, other) = (
            try await ManifestFile(besides: shelf.file("a")).header(),
            try await ManifestFile(besides: shelf.file("b")).header()
        )
        let file = try #require(StoredFiles([FileStamp(path: shelf.file("a"))]))
        var state = VerifyState(of: one, in: file)
        #expect(ProofRecord(state, of: one, in: file).state == .partly)
        state.proven = state.checked
        #expect(ProofRecord(state, of: one, in: file).state == .proven)
        #expect(ProofRecord(state, of: one, in: file).proven == state.checked)
        // The same content, and another backup.
        #expect(one.content == other.content)
        #expect(ProofRecord(state, of: other, in: file) == ProofRecord())
        // A copy, or what was written to.
        #expect(ProofRecord(state, of: one, in: nil) == ProofRecord())
        #expect(ProofRecord(state, of: one, in: StoredFiles([])) == ProofRecord())
        #expect(ProofRecord(nil, of: one, in: file) == ProofRecord())
        state.isDamaged = true
        #expect(ProofRecord(state, of: one, in: file).state == .bad)
        // It may have been repaired since.
        #expect(ProofRecord(state, of: one, in: nil) == ProofRecord())
        state.isDamaged = nil
        state.bad = [7]
        #expect(ProofRecord(state, of: one, in: file).state == .bad)
        #expect(ProofRecord(state, of: one, in: nil).state == .bad)
        #expect(ProofRecord(state, of: one, in: nil).proven == nil)
    }

    /// What is no backup is listed only where it is an image, or the base of one.
    @Test func otherFiles() async throws {
        let shelf = try await BackupShelf(isEmpty: true)
        #expect(try await shelf.list().nodes.isEmpty)
        for name in ["notes.txt", "base.img", "unused.img", "x.manifest", "x.verified"] {
            try shelf.write([UInt8](repeating: 65, count: 4096), to: name)
        }
        try await shelf.directory.makeImage("shelf/image", length: 1 << 20)
        try await shelf.directory.makeImage("shelf/over.qcow2", length: 4096) {
            $0.backingFileName = "base.img"
            $0.backingFormat = "raw"
        }
        try await shelf.directory.makeImage("outside", length: 1 << 20)
        try await shelf.directory.makeImage("shelf/on", length: 1 << 20) {
            $0.backingFileName = "../outside"
            $0.backingFormat = "qcow2"
        }
        try FileManager.default.createSymbolicLink(atPath: shelf.file("link.qcow2"), withDestinationPath: "image")
        try FileManager.default.createSymbolicLink(atPath: shelf.file("out.qcow2"), withDestinationPath: "../outside")
        try FileManager.default.createDirectory(atPath: shelf.file("folder.qcow2"), withIntermediateDirectories: false)
        #expect(mkfifo(shelf.file("fifo.qcow2"), 0o600) == 0)
        let folder = try await shelf.list()
        #expect(Set(folder.nodes.map(\.name)) == ["image", "base.img", "over.qcow2", "on"])
        #expect(folder.isSound)
        #expect(folder.nodes.allSatisfy { !$0.isBackup && $0.sync == nil && $0.id == nil && $0.isUsable })
        #expect(folder["base.img"]?.format == .raw)
        #expect(folder["base.img"]?.children.map { folder.nodes[$0].name } == ["over.qcow2"])
        #expect(folder["on"]?.parent == .outside(shelf.directory.file("outside").string))
    }

    /// A guest wrote the header into its raw disk: nothing in it is followed.
    @Test func aRawBackupThatLooksLikeAnImage() async throws {
        let shelf = try await BackupShelf()
        try await shelf.directory.makeImage("guest.raw", length: 1 << 20) {
            $0.backingFileName = "/etc/passwd"
            $0.backingFormat = "raw"
        }
        try await shelf.backUp("backup") {
            $0.source = shelf.directory.file("guest.raw").string
            $0.sourceFormat = .raw
            $0.targetFormat = .raw
        }
        let node = try #require(try await shelf.list()["backup"])
        #expect(node.format == .raw && node.parent == .none && node.parentName == nil)
        #expect(node.problems.isEmpty)
    }

    @Test func aLinkLeadsToTheParent() async throws {
        let shelf = try await BackupShelf(isEmpty: true)
        try await shelf.directory.makeImage("shelf/base", length: 1 << 20)
        try FileManager.default.createSymbolicLink(atPath: shelf.file("latest"), withDestinationPath: "base")
        try await shelf.directory.makeOverlay("shelf/top", over: "shelf/latest", length: 1 << 20)
        let folder = try await shelf.list()
        #expect(folder.nodes.map(\.name) == ["base", "top"])
        #expect(folder["top"]?.parent == .here(0))
    }

    @Test func aTargetThatIsBeingWritten() async throws {
        let shelf = try await BackupShelf(isEmpty: true)
        do {
            let file = try LocalStorage.open(shelf.file("x.qcow2.partial"), access: .create, lock: .writable)
            let folder = try await shelf.list()
            #expect(folder.strays.map(\.kind) == [.running])
            #expect(folder.isSound)
            // And whoever writes goes on undisturbed.
            try await file.resize(to: 512)
        }
        let folder = try await shelf.list { $0.strays.first?.kind == .unfinished }
        #expect(folder.strays.map(\.kind) == [.unfinished])
        #expect(folder.strays.map(\.name) == ["x.qcow2.partial"])
        #expect(!folder.isSound)
    }

    @Test func anImageInUse() async throws {
        let shelf = try await BackupShelf(isEmpty: true)
        let path = try await shelf.directory.makeImage("shelf/image", length: 1 << 20)
        do {
            let file = try LocalStorage.open(path, access: .readWrite, lock: .writable)
            let folder = try await shelf.list()
            #expect(folder["image"]?.isInUse == true)
            #expect(folder.isSound)
            withExtendedLifetime(file) {}
        }
        #expect(try await shelf.list { $0["image"]?.isInUse == false }["image"]?.isInUse == false)
    }

    @Test func namesThatAreNoText() async throws {
        let shelf = try await BackupShelf(isEmpty: true)
        try await shelf.directory.makeImage("shelf/b", length: 1 << 20)
        let bytes = Array((shelf.path + "/a").utf8) + [0xff, 0]
        let descriptor = bytes.map { CChar(bitPattern: $0) }.withUnsafeBufferPointer {
            open($0.baseAddress!, O_CREAT, 0o600)
        }
        try #require(descriptor >= 0)
        close(descriptor)
        let warnings = Locked<[String]>([])
        let folder = try await ListOperation(folder: shelf.path) { line in warnings.withLock { $0.append(line) } }.run()
        #expect(folder.nodes.map(\.name) == ["b"])
        #expect(folder.isSound)
        #expect(warnings.withLock { $0.count } == 1)
    }

    @Test func whatIsNoFolder() async throws {
        let shelf = try await BackupShelf(isEmpty: true)
        try shelf.write([], to: "file")
        for path in [shelf.file("nothing"), shelf.file("file")] {
            let error = try await refusal { _ = try await ListOperation(folder: path, warn: { _ in }).run() }
            #expect(error.code == .notFound)
        }
    }
}
