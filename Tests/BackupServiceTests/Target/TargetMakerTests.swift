// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore
import BlockIO
import DiskChain
import Glibc
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

@testable import BackupService

/// What can't become a target is refused before anything is made or changed.
@Suite struct TargetMakerTests {
    private static let length: UInt64 = 1 << 20

    private let directory: TemporaryDirectory

    init() async throws {
        directory = try TemporaryDirectory()
        try await directory.makeImage("base", length: Self.length)
        try await directory.makeOverlay("source", over: "base", length: Self.length)
        try await directory.makeImage("alone", length: Self.length)
        try await directory.makeImage("longer", length: 2 * Self.length)
        try await directory.makeImage("zstd", length: Self.length) { $0.compressionType = .zstd }
        try await directory.makeImage("otherBase", length: Self.length)
        try await directory.makeOverlay("overlay", over: "base", length: Self.length)
        try await directory.makeOverlay("otherOverlay", over: "otherBase", length: Self.length)
        try directory.write([UInt8](repeating: 1, count: 4096), to: "raw")
        try directory.write([], to: "data")
        try directory.write([7], to: "real.partial")
        try #require(symlink("real.partial", directory.file("link.partial").string) == 0)
        try directory.write([UInt8](repeating: 1, count: Int(Self.length) + 512), to: "longerRaw")
        try directory.write([UInt8](repeating: 1, count: Int(Self.length)), to: "fullRaw")
        try await makeImage("apart", dataFile: "apartData")
        try await makeImage("overSource", dataFile: "source")
        try await makeImage("overBase", dataFile: "base")
    }

    /// Makes an image that names an external data file; the file itself is made only where there is none.
    private func makeImage(_ name: String, dataFile: String) async throws {
        let isPresent = directory.exists(dataFile)
        let data = directory.file(isPresent ? "unused" : dataFile).string
        var options = Qcow2Options(size: Self.length)
        options.dataFileName = directory.file(dataFile).string
        let image = try await Qcow2Image.create(
            options, in: LocalStorage.open(directory.file(name).string, access: .create, lock: nil),
            dataFile: LocalStorage.open(data, access: .create, lock: nil))
        try await image.write(at: 0, bytes: [UInt8](repeating: 5, count: 4096))
        try await image.close()
    }

    struct Case: Sendable, CustomTestStringConvertible {
        let target: String
        let code: ServiceError.Code
        let message: String
        let change: @Sendable (inout BackupRequest) -> Void

        init(
            _ target: String, _ code: ServiceError.Code, _ message: String,
            change: @escaping @Sendable (inout BackupRequest) -> Void = { _ in }
        ) {
            self.target = target
            self.code = code
            self.message = message
            self.change = change
        }

        /// A new target with options.
        static func options(_ texts: String..., code: ServiceError.Code = .usage, message: String) -> Case {
            Case("new", code, message) { $0.targetOptions = texts }
        }

        /// A target that exists and is written into.
        static func reusing(
            _ target: String, _ code: ServiceError.Code, _ message: String,
            change: @escaping @Sendable (inout BackupRequest) -> Void = { _ in }
        ) -> Case {
            Case(target, code, message) {
                $0.existingTarget = .reuse
                change(&$0)
            }
        }

        var testDescription: String { "\(target): \(message)" }
    }

    private static let contradictions: [Case] = [
        .options("compat=0.10", "refcount_bits=8", message: "option refcount_bits: compat=0.10 has 16 only"),
        .options("compat=0.10", "compression_type=zstd", message: "option compression_type: compat=0.10 has zlib"),
        .options("compat=0.10", "extended_l2=on", message: "option extended_l2: it needs compat=1.1"),
        .options("compat=0.10", "lazy_refcounts=on", message: "option lazy_refcounts: it needs compat=1.1"),
        .options("compat=0.10", "data_file=d", message: "option data_file: it needs compat=1.1"),
        .options("cluster_size=4k", "extended_l2=on", message: "option extended_l2: it needs a cluster_size of"),
        .options("data_file_raw=on", message: "option data_file_raw: it needs data_file"),
        .options("data_file=new", message: "would be the image itself"),
        .options("data_file=data", code: .exists, message: "exists"),
        .options("data_file=source", message: "is part of the source"),
        .options("data_file=.", code: .unsupported, message: "is a directory"),
        Case("new", .usage, "a raw data file can't have a backing file") {
            $0.sync = .top
            $0.targetOptions = ["data_file=d", "data_file_raw=on"]
        },
        Case("new", .usage, "contradict each other") {
            $0.targetOptions = ["compression_type=zstd"]
            $0.compression = CompressionSettings(type: .zlib)
        },
        Case("new", .usage, "compat=0.10 has zlib only") {
            $0.targetOptions = ["compat=0.10"]
            $0.compression = CompressionSettings(type: .zstd)
        },
        Case("new", .usage, "can't hold compressed clusters") {
            $0.targetOptions = ["data_file=d"]
            $0.compression = CompressionSettings(type: .zlib)
        },
    ]

    private static let raw: [Case] = [
        Case("new", .usage, "can't hold compressed") {
            $0.targetFormat = .raw
            $0.compression = CompressionSettings(type: .zlib)
        },
        Case("new", .usage, "has no -o options") {
            $0.targetFormat = .raw
            $0.targetOptions = ["cluster_size=4k"]
        },
        Case("new", .usage, "can't have a backing file") {
            $0.targetFormat = .raw
            $0.sync = .top
        },
        .reusing("raw", .usage, "4096 bytes") { $0.targetFormat = .raw },
        .reusing("longerRaw", .usage, "1049088 bytes") { $0.targetFormat = .raw },
    ]

    private static let existing: [Case] = [
        Case("alone", .exists, "exists"),
        Case("source", .usage, "the source itself"),
        Case("base", .usage, "part of the source's chain"),
        Case("base", .usage, "part of the source's chain") { $0.existingTarget = .replace },
        Case("missing/x", .notFound, "No such file or directory"),
        Case(".", .unsupported, "is a directory"),
        .reusing("new", .notFound, "does not exist"),
        .reusing("source", .usage, "the source itself"),
        .reusing("alone", .usage, "-o describes a new target") { $0.targetOptions = ["cluster_size=4k"] },
        .reusing("raw", .unsupported, "not a qcow2 image"),
        .reusing("longer", .usage, "a disk of 2097152 bytes"),
        .reusing("zstd", .usage, "compresses with zstd") { $0.compression = CompressionSettings(type: .zlib) },
        .reusing("alone", .usage, "has no backing file") { $0.sync = .top },
        .reusing("otherOverlay", .usage, "has the backing file") { $0.sync = .top },
        .reusing("overSource", .usage, "source is part of the source"),
        .reusing("overBase", .usage, "base is part of the source"),
        .reusing("overSource", .usage, "source is part of the source") { $0.forceShare = true },
        .reusing("overBase", .usage, "base is part of the source") { $0.forceShare = true },
        Case("x.partial", .usage, "names that end with .partial"),
        Case("x.manifest", .usage, "names that end with .manifest"),
        Case("x.verified", .usage, "names that end with .verified"),
        Case("x.verified", .usage, "names that end with .verified") { $0.existingTarget = .replace },
        Case("link.partial", .usage, "names that end with .partial") { $0.existingTarget = .replace },
        .options("data_file=x.partial", message: "names that end with .partial"),
    ]

    private func make(_ target: String, _ change: (inout BackupRequest) -> Void) async throws -> BackupTarget {
        var request = BackupRequest(source: directory.file("source").string, target: directory.file(target).string)
        change(&request)
        // Without locks, as on file systems that have none.
        let source = try await DiskOpener(lock: request.forceShare ? nil : .readOnlySource).open(request.source)
        return try await TargetMaker(request: request, source: source, sync: request.sync, warn: { _ in }).make()
    }

    private func content() throws -> [String: [UInt8]] {
        var content: [String: [UInt8]] = [:]
        for name in try directory.names() { content[name] = try directory.read(name) }
        return content
    }

    @Test(arguments: contradictions + raw + existing) func refused(one: Case) async throws {
        let before = try content()
        let error = try await refusal { _ = try await make(one.target, one.change) }
        #expect(error.code == one.code, "\(error.message)")
        #expect(error.message.contains(one.message), "\(error.message)")
        if one.target == "new" {
            #expect(!error.message.contains(".partial: option"), "no file has a part in this: \(error.message)")
        }
        #expect(try content() == before)
    }

    /// A target that exists is as it was until something is written into it; then it looks unfinished at once.
    @Test(arguments: ["alone", "fullRaw", "apart"]) func asItWas(name: String) async throws {
        let before = try content()
        let target = try await make(name) {
            $0.existingTarget = .reuse
            if name == "fullRaw" { $0.targetFormat = .raw }
        }
        #expect(try content() == before)
        // In the way of the image itself, only its data may change.
        try await target.device.write(at: 512 << 10, bytes: [UInt8](repeating: 3, count: 65536))
        let after = try content()
        for name in [name] + (name == "apart" ? ["apartData"] : []) {
            #expect(after[name]?.prefix(512).allSatisfy { $0 == 0 } == true, "\(name)")
        }
    }

    /// A new target has no name before it is committed, and none after it was discarded.
    @Test(arguments: [["cluster_size=4k"], ["data_file=d"]]) func newTarget(options: [String]) async throws {
        let before = try directory.names()
        let discarded = try await make("new", { $0.targetOptions = options })
        #expect(try !directory.names().contains("new"))
        discarded.discard()
        #expect(try directory.names() == before)

        let target = try await make("new", { $0.targetOptions = options })
        try await target.finish()
        try Publication(files: target.newFiles).publish()
        let made = options == ["data_file=d"] ? ["d", "new"] : ["new"]
        #expect(try directory.names() == (before + made).sorted())
    }

    /// What is to be replaced can't be taken into use before it is: neither an image nor its data file.
    @Test(arguments: [[], ["data_file=data"]] as [[String]]) func lockedUntilReplaced(options: [String]) async throws {
        let target = try await make("alone") {
            $0.existingTarget = .replace
            $0.targetOptions = options
        }
        let replaced = options.isEmpty ? ["alone"] : ["alone", "data"]
        for name in replaced {
            for (access, lock) in [(StorageAccess.readWrite, ImageLockMode.writable), (.readOnly, .readOnlySource)] {
                #expect(throws: BlockError.self) {
                    _ = try LocalStorage.open(directory.file(name).string, access: access, lock: lock)
                }
            }
        }
        try await target.finish()
        try Publication(files: target.newFiles).publish()
    }

    /// One file of two that has changed meanwhile: both stay.
    @Test(arguments: ["alone", "data"]) func changedMeanwhile(name: String) async throws {
        let target = try await make("alone") {
            $0.existingTarget = .replace
            $0.targetOptions = ["data_file=data"]
        }
        try directory.write([9], to: "other")
        try #require(rename(directory.file("other").string, directory.file(name).string) == 0)
        let before = try content().filter { !["alone.partial", "data.partial"].contains($0.key) }
        let error = try await refusal {
            try await target.finish()
            try Publication(files: target.newFiles).publish()
        }
        #expect(error.code == .exists)
        target.discard()
        #expect(try content() == before)
    }

    /// In an overlay of the same file, `--sync=top` accepts what it will write over, and nothing else.
    @Test(
        arguments: [
            (0, 0, true), (0, 65536, true), (65536 - 512, 512, true), (65536 - 512, 1024, false),
            (Self.length - 512, 512, false),
        ] as [(UInt64, Int, Bool)])
    func overlayWithContent(offset: UInt64, count: Int, isAccepted: Bool) async throws {
        // The source's top layer holds a part of the first cluster.
        try await write([UInt8](repeating: 1, count: 4096), at: 8192, in: "source")
        try await write([UInt8](repeating: 2, count: count), at: offset, in: "overlay")
        let reuse: (inout BackupRequest) -> Void = {
            $0.sync = .top
            $0.existingTarget = .reuse
        }
        if isAccepted {
            _ = try await make("overlay", reuse)
        } else {
            let before = try content()
            let error = try await refusal { _ = try await make("overlay", reuse) }
            #expect(error.message.contains("holds data of its own"), "\(error.message)")
            #expect(try content() == before)
        }
    }

    private func write(_ bytes: [UInt8], at offset: UInt64, in name: String) async throws {
        let file = try LocalStorage.open(directory.file(name).string, access: .readWrite, lock: nil)
        let backing = try await DiskOpener(lock: nil).open(directory.file("base").string)
        let image = try await Qcow2File(file).open(backing: backing.device, forWriting: true)
        try await image.write(at: offset, bytes: bytes)
        try await image.close()
    }
}
