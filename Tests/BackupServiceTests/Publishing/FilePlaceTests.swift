// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import Foundation
import Glibc
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

@testable import BackupService

/// A new file has its name once it is whole, and never before; whatever fails, nothing else is lost.
@Suite struct FilePlaceTests {
    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
    }

    private func path(_ name: String) -> String { directory.file(name).string }

    private func place(_ name: String = "x") -> FilePlace {
        FilePlace(path: path(name))
    }

    /// The place of a file that exists.
    private func placeReplacing(_ name: String = "x") throws -> FilePlace {
        FilePlace(path: path(name), replaced: try LocalStorage.open(path(name), access: .readOnly, lock: nil))
    }

    private func create(_ place: FilePlace, reading readFiles: [StorageIdentity] = []) async throws -> UnnamedFile {
        try await place.create(copyRange: .never, readFiles: readFiles)
    }

    private func publish(_ file: UnnamedFile) throws {
        try Publication(files: [file]).publish()
    }

    private func permissions(_ name: String) throws -> mode_t {
        var status = stat()
        try #require(lstat(path(name), &status) == 0)
        return status.st_mode & 0o7777
    }

    /// Writes a file's content through its device.
    private func fill(_ file: UnnamedFile, _ bytes: [UInt8]) async throws {
        try await file.device.resize(to: UInt64(bytes.count))
        try await file.device.write(at: 0, bytes: bytes)
    }

    // MARK: Names

    @Test(arguments: ["x", "x.partial", "größe", "line\nbreak", " ", "-n", String(repeating: "n", count: 247)])
    func newFile(name: String) async throws {
        let file = try await create(place(name))
        #expect(try directory.names() == [name + ".partial"])
        try await fill(file, [1, 2, 3])
        try publish(file)
        #expect(try directory.names() == [name])
        #expect(try directory.read(name) == [1, 2, 3])
        file.remove()
        #expect(try directory.names() == [name], "what has its name stays")
    }

    @Test func folderIsMissing() async throws {
        let error = try await refusal { _ = try await create(place("missing/x")) }
        #expect(error.code == .notFound)
        #expect(error.advice?.contains(path("missing")) == true)
    }

    @Test func nameIsTooLong() async throws {
        let error = try await refusal { _ = try await create(place(String(repeating: "n", count: 248))) }
        #expect(error.advice?.contains("shorter") == true)
        #expect(try directory.names() == [])
    }

    @Test func folderIsAFile() async throws {
        try directory.write([1], to: "file")
        let error = try await refusal { _ = try await create(place("file/x")) }
        #expect(error.code == .notFound)
        #expect(try directory.names() == ["file"])
    }

    // MARK: Replacing

    @Test(arguments: [0o600, 0o640, 0o644, 0o444, 0o777, 0o000] as [mode_t])
    func replaces(mode: mode_t) async throws {
        try directory.write([1, 1, 1, 1], to: "x")
        let place = try placeReplacing()
        try #require(chmod(path("x"), mode) == 0)
        let file = try await create(place)
        #expect(try permissions("x.partial") == mode, "from the start on")
        try await fill(file, [2])
        if mode & 0o400 != 0 {
            #expect(try directory.read("x") == [1, 1, 1, 1], "until the end")
        }
        try publish(file)
        #expect(try directory.names() == ["x"])
        #expect(try permissions("x") == mode)
        try #require(chmod(path("x"), 0o600) == 0)
        #expect(try directory.read("x") == [2])
    }

    @Test func replacesWhatHasGone() async throws {
        try directory.write([1], to: "x")
        let file = try await create(placeReplacing())
        try FileManager.default.removeItem(atPath: path("x"))
        try publish(file)
        #expect(try directory.names() == ["x"])
    }

    /// What has got the name meanwhile stays, and so does what was to be replaced.
    @Test func whatHasChangedIsNotReplaced() async throws {
        try directory.write([1], to: "x")
        let file = try await create(placeReplacing())
        try FileManager.default.moveItem(atPath: path("x"), toPath: path("old"))
        try directory.write([3], to: "x")
        let error = try await refusal { try publish(file) }
        #expect(error.code == .exists)
        #expect(error.message.contains("another file by now"), "\(error.message)")
        file.remove()
        #expect(try directory.names() == ["old", "x"])
        #expect(try directory.read("x") == [3])
        #expect(try directory.read("old") == [1])
    }

    @Test func nothingIsReplacedUnasked() async throws {
        try directory.write([1], to: "x")
        let early = try await refusal { _ = try await create(place()) }
        #expect(early.code == .exists)
        #expect(try directory.names() == ["x"])

        try FileManager.default.removeItem(atPath: path("x"))
        let file = try await create(place())
        try directory.write([1], to: "x")
        let late = try await refusal { try publish(file) }
        #expect(late.code == .exists)
        file.remove()
        #expect(try directory.names() == ["x"])
        #expect(try directory.read("x") == [1])
    }

    @Test func clearTakesTheNameAway() throws {
        try directory.write([1], to: "x")
        try place().clear()
        #expect(try directory.names() == [])
        try place().clear()
    }

    // MARK: Undoing

    @Test func removed() async throws {
        let file = try await create(place())
        file.remove()
        #expect(try directory.names() == [])
        file.remove()
    }

    /// Once a file has its name, `.partial` is another run's.
    @Test func anotherRunsFileStays() async throws {
        let first = try await create(place())
        try publish(first)
        let second = try await create(placeReplacing())
        first.remove()
        #expect(try directory.names() == ["x", "x.partial"])
        second.remove()
        #expect(try directory.names() == ["x"])
    }

    /// Where the folder can't be synced later, the name is not given to begin with.
    @Test func folderHasGone() async throws {
        let folder = path("folder")
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
        let file = try await create(place("folder/x"))
        try FileManager.default.moveItem(atPath: folder, toPath: path("moved"))
        let error = try await refusal { try publish(file) }
        #expect(error.message.contains("everything is copied"))
        #expect(try FileManager.default.contentsOfDirectory(atPath: path("moved")) == ["x.partial"])
    }

    // MARK: What is called .partial already

    /// What an interrupted run has left is replaced by a new file, with an owner and permissions of its own.
    @Test(arguments: [UnfinishedMark.sector, UnfinishedMark.sector + [1, 2, 3], []], [false, true])
    func leftover(content: [UInt8], replaces: Bool) async throws {
        try directory.write(content, to: "x.partial")
        try #require(chmod(path("x.partial"), 0o666) == 0)
        if replaces {
            try directory.write([1], to: "x")
            try #require(chmod(path("x"), 0o640) == 0)
        }
        let old = try #require(try FileStatus(path: path("x.partial"))).identity
        // Holds the old file's number, so that the new one has another.
        let handle = try LocalStorage.open(path("x.partial"), access: .readOnly, lock: nil)
        let place = try replaces ? placeReplacing() : place()
        try await BackupShelf.patiently {
            let file = try await create(place)
            #expect(file.device.identity != old)
        }
        withExtendedLifetime(handle) {}
        #expect(try directory.read("x.partial") == UnfinishedMark.sector)
        let mask = umask(0)
        umask(mask)
        #expect(try permissions("x.partial") == (replaces ? 0o640 : 0o666 & ~mask))
    }

    struct Kept: Sendable, CustomTestStringConvertible {
        let testDescription: String
        var content = FilePlace.Content.disk
        var bytes: [UInt8] = UnfinishedMark.sector
        var owner: UInt32?
    }

    /// What is not ours, or is whole, stays, and the message names it.
    @Test(arguments: [
        Kept(testDescription: "a raw disk", bytes: [UInt8](repeating: 7, count: 4096)),
        Kept(testDescription: "a raw disk without a boot sector", bytes: [UInt8](repeating: 0, count: 4096)),
        Kept(testDescription: "a manifest in a disk's way", bytes: Array("qcowbackup manifest 1\n".utf8)),
        Kept(testDescription: "text", content: .manifest, bytes: [65, 66]),
        Kept(testDescription: "text where a state goes", content: .verifyState, bytes: [65, 66]),
        Kept(testDescription: "another user's", owner: 65534),
        Kept(testDescription: "another user's empty file", bytes: [], owner: 65534),
    ])
    func kept(_ kept: Kept) async throws {
        try directory.write(kept.bytes, to: "x.partial")
        if let owner = kept.owner {
            // Only root may give files away.
            guard geteuid() == 0 else { return }
            try #require(chown(path("x.partial"), owner, owner) == 0)
        }
        var place = place()
        place.content = kept.content
        let error = try await refusal { _ = try await create(place) }
        #expect(error.code == .exists)
        #expect(error.message.contains(path("x.partial")), "\(error.message)")
        #expect(try directory.names() == ["x.partial"])
        #expect(try directory.read("x.partial") == kept.bytes)
    }

    /// A whole backup gives way only to the next that replaces the same file, and only where the manifest that its run was
    /// making is there, too: else somebody has named it so.
    @Test(arguments: [(false, true), (true, false), (true, true)])
    func finishedBackup(replaces: Bool, hasManifest: Bool) async throws {
        let disk = try LocalStorage.open(path("x.partial"), access: .create, lock: nil)
        var options = Qcow2Options(size: 65536)
        options.identity = BackupIdentity(parent: nil)
        try await Qcow2Image.create(options, in: disk).close()
        try disk.close()
        let before = try directory.read("x.partial")
        if hasManifest { try directory.write(UnfinishedMark.sector, to: "x.manifest.partial") }
        if replaces { try directory.write([1], to: "x") }
        let place = replaces ? try placeReplacing() : place()
        if replaces, hasManifest {
            _ = try await create(place)
            #expect(try directory.read("x.partial") == UnfinishedMark.sector)
        } else {
            let error = try await refusal { _ = try await create(place) }
            #expect(error.code == .exists)
            #expect(try directory.read("x.partial") == before)
        }
    }

    @Test func earlierManifest() async throws {
        try directory.write(Array("qcowbackup manifest 1\n".utf8), to: "x.partial")
        var place = place()
        place.content = .manifest
        _ = try await create(place)
        #expect(try directory.read("x.partial") == UnfinishedMark.sector)
    }

    @Test func leftoverInUse() async throws {
        let file = try await create(place())
        let error = try await refusal { _ = try await create(place()) }
        #expect(error.code == .locked)
        #expect(try directory.read("x.partial") == UnfinishedMark.sector)
        file.remove()
    }

    /// A run whose file was taken away, or replaced, gives no name to what is there.
    @Test(arguments: [false, true]) func lostItsFile(hasAnother: Bool) async throws {
        let file = try await create(place())
        try FileManager.default.removeItem(atPath: path("x.partial"))
        if hasAnother { try directory.write([5], to: "x.partial") }
        let error = try await refusal { try publish(file) }
        #expect(error.code == .exists)
        #expect(error.message.contains("x.partial"))
        file.remove()
        #expect(try directory.names() == (hasAnother ? ["x.partial"] : []))
    }

    enum Obstacle: CaseIterable {
        case link
        case danglingLink
        case fifo
        case folder
    }

    @Test(arguments: Obstacle.allCases) func inTheWay(obstacle: Obstacle) async throws {
        let partial = path("x.partial")
        try directory.write([7], to: "precious")
        switch obstacle {
        case .link: try #require(symlink("precious", partial) == 0)
        case .danglingLink: try #require(symlink("nowhere", partial) == 0)
        case .fifo: try #require(mkfifo(partial, 0o600) == 0)
        case .folder: try #require(mkdir(partial, 0o700) == 0)
        }
        let error = try await refusal { _ = try await create(place()) }
        #expect(error.code == .exists)
        #expect(try directory.names() == ["precious", "x.partial"])
        #expect(try directory.read("precious") == [7])
    }

    @Test func isBeingRead() async throws {
        try directory.write([7], to: "x.partial")
        let identity = try #require(try FileStatus(path: path("x.partial"))).identity
        let error = try await refusal { _ = try await create(place(), reading: [identity]) }
        #expect(error.code == .usage)
        #expect(try directory.read("x.partial") == [7])
    }
}
