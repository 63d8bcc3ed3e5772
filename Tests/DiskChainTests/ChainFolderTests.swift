// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DiskChain
import Foundation
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

/// Chains whose files were moved to one folder: found there by the last part of the recorded names, and nowhere else.
@Suite struct ChainFolderTests {
    private let directory: TemporaryDirectory
    private let folder: FilePath

    init() throws {
        directory = try TemporaryDirectory()
        folder = directory.file("moved")
        try FileManager.default.createDirectory(atPath: folder.string, withIntermediateDirectories: false)
    }

    /// Makes an image whose first cluster is `first`, over a backing file as it is to be recorded.
    private func make(
        _ name: String, backing: String? = nil, first: UInt8? = nil, dataFile: String? = nil
    ) async throws {
        var options = Qcow2Options(size: 64 << 10)
        options.backingFileName = backing
        options.backingFormat = backing == nil ? nil : "qcow2"
        options.dataFileName = dataFile
        let file = try LocalStorage.open(directory.file(name).string, access: .create, lock: nil)
        let data = dataFile == nil ? nil : MemoryDevice(name: "data", length: 0)
        let image = try await Qcow2Image.create(options, in: file, dataFile: data)
        if let first { try await image.write(at: 0, bytes: [UInt8](repeating: first, count: 4096)) }
        try await image.close()
    }

    private func open(_ name: String) async throws -> OpenedDisk {
        try await DiskOpener(folder: ChainFolder(path: folder.string)).open(directory.file(name).string)
    }

    private func failure(_ name: String) async throws -> ChainError? {
        do {
            _ = try await open(name)
            return nil
        } catch let error as ChainError {
            return error
        }
    }

    @Test(arguments: [
        ("base", "F/base"), ("./base", "F/base"), ("../base", "F/base"), ("/a/b/base", "F/base"), ("a//base", "F/base"),
        ("...", "F/..."), ("a/..b", "F/..b"), ("base ", "F/base "), ("a/\u{301}b", "F/\u{301}b"),
        ("../../\u{301}b", "F/\u{301}b"), ("", nil), (".", nil), ("..", nil), ("a/", nil), ("a/.", nil), ("a/..", nil),
        ("/", nil),
    ])
    func paths(name: String, path: String?) {
        #expect(ChainFolder(path: "F").path(of: name).map { Array($0.utf8) } == path.map { Array($0.utf8) })
        #expect(ChainFolder(path: "F/").path(of: name).map { Array($0.utf8) } == path.map { Array($0.utf8) })
    }

    /// What is recorded exists too, and must not be opened.
    @Test(arguments: [
        "base.qcow2", "./base.qcow2", "../base.qcow2", "elsewhere/base.qcow2", "/nowhere/at/all/base.qcow2", "HERE",
        "file:base.qcow2", "file:HERE", #"json:{"driver":"qcow2","file":{"driver":"file","filename":"HERE"}}"#,
        #"json:{"driver":"qcow2","file.filename":"../../base.qcow2"}"#,
    ])
    func found(name: String) async throws {
        try await make("base.qcow2", first: 1)
        try await make("moved/base.qcow2", first: 2)
        let recorded = name.replacing("HERE", with: directory.file("base.qcow2").string)
        for top in ["top.qcow2", "moved/top.qcow2"] {
            try await make(top, backing: recorded)
            let disk = try await open(top)
            #expect(disk.layers[1].path == folder.appending("base.qcow2").string)
            #expect(try await disk.device.bytes(at: 0, count: 1) == [2])
            #expect(disk.lengths == [64 << 10, 64 << 10])
        }
    }

    @Test func eachLinkOfALongChain() async throws {
        try await make("moved/0.qcow2", first: 7)
        for number in 1...6 {
            try await make("moved/\(number).qcow2", backing: "/old/\(number % 2)/\(number - 1).qcow2")
        }
        let disk = try await open("moved/6.qcow2")
        #expect(disk.layers.count == 7)
        #expect(try await disk.device.bytes(at: 0, count: 1) == [7])
    }

    @Test func dataFile() async throws {
        try await make("moved/top.qcow2", first: 3, dataFile: "/old/top.data")
        guard case .file(let path, .dataFile, let error)? = try await failure("moved/top.qcow2") else {
            Issue.record("opened without its data file")
            return
        }
        #expect(path == folder.appending("top.data").string)
        #expect(error.errno == .noSuchFileOrDirectory)
        try directory.write([UInt8](repeating: 9, count: 64 << 10), to: "moved/top.data")
        #expect(try await open("moved/top.qcow2").device.bytes(at: 0, count: 1) == [9])
    }

    @Test func missingThereThoughItIsWhereTheImageSays() async throws {
        try await make("base.qcow2", first: 1)
        try await make("top.qcow2", backing: "base.qcow2")
        guard case .file(let path, .backingFile, let error)? = try await failure("top.qcow2") else {
            Issue.record("followed a name outside the folder")
            return
        }
        #expect(path == folder.appending("base.qcow2").string)
        #expect(error.errno == .noSuchFileOrDirectory)
    }

    @Test(arguments: [
        "a/", "..", "a/..", "file:", "file:a/", "nbd://host/base.qcow2", "nbd:unix:/base.qcow2",
        #"json:{"driver":"qcow2","file.filename":".."}"#,
        #"json:{"driver":"qcow2","file":{"driver":"nbd","path":"base.qcow2"}}"#,
    ])
    func unusable(name: String) async throws {
        try await make("moved/base.qcow2", first: 2)
        try await make("moved/top.qcow2", backing: name)
        guard case .unusableBackingName? = try await failure("moved/top.qcow2") else {
            Issue.record("\(name) was not refused for its name")
            return
        }
    }

    /// `full/disk.qcow2` and `later/disk.qcow2` can't both be in one folder.
    @Test func oneNameForTwo() async throws {
        try await make("moved/disk.qcow2", backing: "../full/disk.qcow2")
        guard case .ambiguousName("disk.qcow2", _)? = try await failure("moved/disk.qcow2") else {
            Issue.record("an image was taken for its own backing file")
            return
        }
    }
}
