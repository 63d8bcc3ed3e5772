// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import DiskChain
import Foundation
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

/// Backing chains: found where the images say, and refused where following them would be a guess or never end.
@Suite struct DiskOpenerTests {
    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
    }

    /// Makes an image whose first cluster is `first`, over a backing file as it is to be recorded.
    private func make(
        _ name: String, backing: String? = nil, format: ImageFormat? = nil, first: UInt8? = nil, size: UInt64 = 64 << 10
    ) async throws {
        var options = Qcow2Options(size: size)
        options.clusterBits = 12
        options.backingFileName = backing
        options.backingFormat = format?.rawValue
        let file = try LocalStorage.open(directory.file(name).string, access: .create, lock: nil)
        let image = try await Qcow2Image.create(options, in: file)
        if let first { try await image.write(at: 0, bytes: [UInt8](repeating: first, count: 4096)) }
        try await image.close()
    }

    private func open(_ name: String, opener: DiskOpener = DiskOpener()) async throws -> OpenedDisk {
        try await opener.open(directory.file(name).string)
    }

    private func fail(_ what: Comment) {
        Issue.record(what)
    }

    private func failure(_ name: String, opener: DiskOpener = DiskOpener()) async throws -> ChainError? {
        do throws(ChainError) {
            _ = try await opener.open(directory.file(name).string)
            return nil
        } catch {
            return error
        }
    }

    @Test(arguments: [
        "base.qcow2", "./base.qcow2", "file:base.qcow2", "ABSOLUTE", "file:ABSOLUTE",
        #"json:{"driver":"qcow2","file":{"driver":"file","filename":"ABSOLUTE"}}"#,
        #"json:{"driver":"qcow2","file.filename":"ABSOLUTE"}"#,
        #"json:{"file.driver":"file","file.filename":"ABSOLUTE"}"#,
        #"json:{"driver":"file","filename":"ABSOLUTE"}"#,
    ])
    func names(name: String) async throws {
        try await make("base.qcow2", first: 7)
        let recorded = name.replacing("ABSOLUTE", with: directory.file("base.qcow2").string)
        try await make("top.qcow2", backing: recorded, format: .qcow2)
        let disk = try await open("top.qcow2")
        #expect(disk.layers.count == 2)
        #expect(disk.backing?.format == .qcow2)
        #expect(try await disk.device.bytes(at: 0, count: 4096) == [UInt8](repeating: 7, count: 4096))
    }

    /// Options that would show another disk than the file's are not left out.
    @Test(arguments: [
        #""offset":512"#, #""size":"4096""#, #""backing":null"#, #""backing.driver":"raw""#, #""data-file":"x""#,
        #""file.offset":512"#, #""file.file.filename":"x""#, #""x-option":1"#, #""encrypt.format":"aes""#,
    ])
    func optionsThatMatter(option: String) async throws {
        try await make("base.qcow2", first: 7)
        let file = #""filename":"\#(directory.file("base.qcow2").string)""#
        for name in [
            #"json:{"driver":"qcow2",\#(option),"file":{"driver":"file",\#(file)}}"#,
            #"json:{"driver":"qcow2","file":{"driver":"file",\#(option),\#(file)}}"#,
            #"json:{"driver":"qcow2",\#(option),"file.\#(file.dropFirst())}"#,
            #"json:{"driver":"file",\#(option),\#(file)}"#,
        ] {
            try await make("top.qcow2", backing: name, format: .qcow2)
            guard case .unusableBackingName? = try await failure("top.qcow2") else {
                Issue.record("\(name) was not refused")
                continue
            }
        }
    }

    @Test(arguments: [
        #""cache.direct":true"#, #""locking":"off""#, #""node-name":"x""#, #""read-only":true"#, #""offset":0"#,
        #""offset":"0""#, #""lazy-refcounts":true"#, #""overlap-check.template":"all""#, #""l2-cache-size":1048576"#,
        #""pass-discard-request":"off""#, #""aio-max-batch":4"#,
    ])
    func optionsThatDoNot(option: String) async throws {
        try await make("base.qcow2", first: 7)
        let path = directory.file("base.qcow2").string
        try await make(
            "top.qcow2", backing: #"json:{\#(option),"file":{\#(option),"driver":"file","filename":"\#(path)"}}"#,
            format: .qcow2)
        #expect(try await open("top.qcow2").device.bytes(at: 0, count: 1) == [7])
    }

    /// A format that is recorded beside the name counts, as in QEMU.
    @Test func recordedFormatCounts() async throws {
        try await make("base.qcow2", first: 7)
        let file = #""file":{"driver":"file","filename":"\#(directory.file("base.qcow2").string)"}"#
        try await make("top.qcow2", backing: #"json:{"driver":"qcow2",\#(file)}"#, format: .raw)
        #expect(try await open("top.qcow2").device.bytes(at: 0, count: 4) == [0x51, 0x46, 0x49, 0xfb])
        try await make("top.qcow2", backing: #"json:{"driver":"qcow2",\#(file)}"#)
        #expect(try await open("top.qcow2").device.bytes(at: 0, count: 1) == [7])
    }

    /// A backing file's name is relative to the image that records it, not to the first one.
    @Test func relativeToEachImage() async throws {
        let inner = directory.file("inner").string
        try FileManager.default.createDirectory(atPath: inner, withIntermediateDirectories: false)
        try await make("inner/base.qcow2", first: 3)
        try await make("inner/middle.qcow2", backing: "base.qcow2", format: .qcow2)
        try await make("top.qcow2", backing: "inner/middle.qcow2", format: .qcow2)
        let disk = try await open("top.qcow2")
        #expect(disk.layers.map(\.path).map { $0.hasPrefix(inner) } == [false, true, true])
        #expect(try await disk.device.bytes(at: 1, count: 1) == [3])
    }

    @Test(arguments: [
        "nbd://host/export", "http://host/file", "fat:rw:folder", "json:{", "json:[]", "json:{}",
        #"json:{"driver":"qcow2","file":{"driver":"nbd","host":"x"}}"#, #"json:{"driver":"qcow2","file":"node"}"#,
    ])
    func unusableNames(name: String) async throws {
        try await make("top.qcow2", backing: name, format: .qcow2)
        guard case .unusableBackingName? = try await failure("top.qcow2") else {
            Issue.record("\(name) was not refused for its name")
            return
        }
    }

    @Test func loopOfTwo() async throws {
        try await make("one.qcow2", backing: "two.qcow2", format: .qcow2)
        try await make("two.qcow2", backing: "one.qcow2", format: .qcow2)
        guard case .loop? = try await failure("one.qcow2") else { return fail("no loop") }
    }

    @Test func loopOfOne() async throws {
        try await make("one.qcow2", backing: "one.qcow2", format: .qcow2)
        guard case .loop? = try await failure("one.qcow2") else { return fail("no loop") }
    }

    @Test func depth() async throws {
        try await make("0.qcow2", first: 9)
        for number in 1...256 { try await make("\(number).qcow2", backing: "\(number - 1).qcow2", format: .qcow2) }
        let disk = try await open("255.qcow2")
        #expect(disk.layers.count == 256)
        #expect(try await disk.device.bytes(at: 0, count: 1) == [9])
        #expect(try await disk.device.blockStatus(at: 0, length: 4096, in: .chain).depth == 255)
        guard case .tooDeep(limit: 256)? = try await failure("256.qcow2") else { return fail("not too deep") }
    }

    @Test func missing() async throws {
        guard case .file(_, .disk, let error)? = try await failure("absent.qcow2") else {
            return fail("it is not there")
        }
        #expect(error.errno == .noSuchFileOrDirectory)
        try await make("top.qcow2", backing: "absent.qcow2", format: .qcow2)
        guard case .file(let path, .backingFile, _)? = try await failure("top.qcow2") else {
            return fail("it is not there")
        }
        #expect(path.hasSuffix("absent.qcow2"))
    }

    /// A raw disk's guest can write a qcow2 header; what the image says about the format counts.
    @Test func formatIsNotGuessed() async throws {
        try await make("base.qcow2", first: 5)
        try await make("top.qcow2", backing: "base.qcow2")
        guard case .unknownBackingFormat? = try await failure("top.qcow2") else { return fail("guessed") }
        let disk = try await open("top.qcow2", opener: DiskOpener(backingFormat: .qcow2))
        #expect(try await disk.device.bytes(at: 0, count: 1) == [5])
        try await make("raw.qcow2", backing: "base.qcow2", format: .raw)
        let raw = try await open("raw.qcow2", opener: DiskOpener(backingFormat: .qcow2))
        #expect(try await raw.device.bytes(at: 0, count: 4) == [0x51, 0x46, 0x49, 0xfb])
    }

    @Test func snapshotOfARawDisk() async throws {
        try directory.write([UInt8](repeating: 1, count: 1000), to: "disk.raw")
        let path = directory.file("disk.raw").string
        let disk = try await DiskOpener().open(path)
        // Sectors are whole.
        #expect(disk.device.length == 1024)
        let end = [UInt8](repeating: 1, count: 10) + [UInt8](repeating: 0, count: 24)
        #expect(try await disk.device.bytes(at: 990, count: 34) == end)
        await #expect(throws: ChainError.self) { try await DiskOpener().open(path, snapshot: "x") }
    }

    @Test func shorterBackingFile() async throws {
        try await make("base.qcow2", first: 8, size: 4096)
        try await make("top.qcow2", backing: "base.qcow2", format: .qcow2)
        let disk = try await open("top.qcow2")
        #expect(try await disk.device.bytes(at: 4095, count: 2) == [8, 0])
        let extents = try await disk.device.extents()
        #expect(extents.map(\.length) == [4096, 60 << 10])
        #expect(extents.map(\.depth) == [1, 1])
        #expect(extents.map(\.readsAsZero) == [false, true])
    }
}
