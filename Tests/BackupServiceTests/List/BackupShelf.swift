// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore
import BlockIO
import Foundation
import Glibc
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

@testable import BackupService

/// A folder with backups of one disk, made as a user makes them.
struct BackupShelf {
    let directory: TemporaryDirectory
    /// The folder's name in the directory.
    let folder: String
    /// How increments name their parents.
    var backingName = BackupRequest.BackingName.auto

    /// - Parameter isEmpty: whether to make no backups.
    init(folder: String = "shelf", isEmpty: Bool = false) async throws {
        directory = try TemporaryDirectory()
        self.folder = folder
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
        if isEmpty { return }
        var random = SeededRandom(seed: 1)
        let bytes = random.bytes(count: 3 << 20)
        let disk = try LocalStorage.open(directory.file("disk.qcow2").string, access: .create, lock: nil)
        let image = try await Qcow2Image.create(Qcow2Options(size: 4 << 20), in: disk)
        try await image.write(at: 0, from: bytes.span.bytes)
        try await image.close()
    }

    var path: String { directory.file(folder).string }

    func file(_ name: String) -> String { path + "/" + name }

    func backUp(_ name: String, _ change: (inout BackupRequest) -> Void = { _ in }) async throws {
        var request = BackupRequest(source: directory.file("disk.qcow2").string, target: file(name))
        change(&request)
        let final = request
        try await Self.patiently { _ = try await BackupOperation(final, warn: { _ in }).run() }
    }

    /// Runs what needs locks, again where a file is locked.
    ///
    /// Other tests start programs, and until such a child has become one it holds copies of all descriptors, and so of
    /// locks that have ended here.
    static func patiently(_ body: () async throws -> Void) async throws {
        for _ in 0..<500 {
            do {
                return try await body()
            } catch let error as ServiceError where error.code == .locked {
                try await Task.sleep(for: .milliseconds(10))
            }
        }
        try await body()
    }

    /// What `verify` makes of a backup.
    func verify(_ name: String, _ extent: VerifyRequest.Extent = .everything) async throws -> VerifyReport.Verdict? {
        var request = VerifyRequest(backups: [file(name)])
        request.extent = extent
        let final = request
        var verdict: VerifyReport.Verdict?
        try await Self.patiently { verdict = try await VerifyOperation(final, warn: { _ in }).run()[0].verdict }
        return verdict
    }

    /// Two differential backups, and two increments, over a full one: a, b and c over full, d over c.
    func fill() async throws {
        try await backUp("a-full.qcow2") {
            $0.bitmap = "b0"
            $0.createsBitmap = true
        }
        for name in ["b.qcow2", "c.qcow2"] {
            try await increment(name, on: "a-full.qcow2") {
                $0.sync = .bitmap
                $0.bitmapMode = .never
            }
        }
        try await increment("d.qcow2", on: "a-full.qcow2")
        try await increment("e.qcow2", on: "d.qcow2")
    }

    func increment(
        _ name: String, on parent: String, _ change: (inout BackupRequest) -> Void = { _ in }
    ) async throws {
        try await backUp(name) {
            $0.sync = .incremental
            $0.bitmap = "b0"
            $0.parent = file(parent)
            $0.backingName = backingName
            change(&$0)
        }
    }

    func list() async throws -> BackupFolder {
        try await ListOperation(folder: path, warn: { _ in }).run()
    }

    /// The folder once it is as expected, or else as it is after some seconds: see `patiently`.
    func list(until isExpected: (BackupFolder) -> Bool) async throws -> BackupFolder {
        for _ in 0..<500 {
            let folder = try await list()
            if isExpected(folder) { return folder }
            try await Task.sleep(for: .milliseconds(10))
        }
        return try await list()
    }

    func read(_ name: String) throws -> [UInt8] { try directory.read(folder + "/" + name) }

    func write(_ bytes: [UInt8], to name: String) throws { try directory.write(bytes, to: folder + "/" + name) }

    func remove(_ name: String) throws { try FileManager.default.removeItem(atPath: file(name)) }

    func move(_ name: String, to other: String) throws {
        guard rename(file(name), file(other)) == 0 else { throw CocoaError(.fileWriteUnknown) }
    }

    /// Changes a file in place: it stays the same file.
    func change(_ name: String, _ body: (inout [UInt8]) -> Void) throws {
        var bytes = try read(name)
        body(&bytes)
        try write(bytes, to: name)
    }
}

extension BackupFolder {
    subscript(name: String) -> BackupNode? { nodes.first { $0.name == name } }

    /// The kinds of problems of an image.
    func problems(_ name: String) -> [BackupProblem.Kind]? { self[name]?.problems.map(\.kind) }
}
