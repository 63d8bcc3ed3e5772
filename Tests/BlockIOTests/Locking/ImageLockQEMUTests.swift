// SPDX-License-Identifier: GPL-2.0-or-later

import BlockIO
import SystemPackage
import TestSupport
import Testing

/// QEMU and we see each other's locks, in both directions.
@Suite(.enabled(if: Program.qemuIMG.isInstalled && Program.qemuIO.isInstalled, "qemu-img or qemu-io is missing"))
struct ImageLockQEMUTests {
    /// Who holds the image on QEMU's side.
    enum Holder: String, Sendable, CaseIterable {
        case qemuIO, storageDaemon

        var isInstalled: Bool { self == .qemuIO || Program.qemuStorageDaemon.isInstalled }

        /// Opens the image and comes back once QEMU has it.
        func open(_ path: FilePath, readOnly: Bool) async throws -> RunningProgram {
            switch self {
            case .qemuIO:
                let holder = try Program.qemuIO.start((readOnly ? ["-r"] : []) + ["-f", "qcow2", path.string])
                // Commands are carried out once the image is open.
                await holder.write("length\n")
                try await holder.waitForOutput("1 MiB")
                return holder
            case .storageDaemon:
                let holder = try Program.qemuStorageDaemon.start([
                    "--blockdev",
                    "driver=qcow2,node-name=disk,read-only=\(readOnly ? "on" : "off"),file.driver=file,"
                        + "file.filename=\(path)",
                    "--chardev", "stdio,id=monitor", "--monitor", "chardev=monitor",
                ])
                // The greeting comes after the block devices are there.
                try await holder.waitForOutput("QMP")
                return holder
            }
        }
    }

    static let holders = Holder.allCases.filter(\.isInstalled)

    private func withImage(_ body: (FilePath) async throws -> Void) async throws {
        try await withTemporaryDirectory { directory in
            let path = directory.file("disk.qcow2")
            try await Program.qemuIMG.runSuccessfully(["create", "-f", "qcow2", path.string, "1M"])
            try await body(path)
        }
    }

    /// Tries to lock, and lets go at once.
    private func attempt(_ mode: ImageLockMode, on path: FilePath) throws {
        let descriptor = try FileDescriptor.open(path, .readOnly)
        defer { try? descriptor.close() }
        let lock = try ImageLock.acquire(descriptor: descriptor.rawValue, path: path.string, mode: mode)
        try #require(lock.unavailable == nil)
    }

    private func expectConflict(_ words: String, for mode: ImageLockMode, on path: FilePath) {
        let error = #expect(throws: ImageLockError.self) { try attempt(mode, on: path) }
        #expect(error?.description.contains(words) == true, "\(String(describing: error))")
    }

    @Test(arguments: holders)
    func aWriterKeepsUsOut(holder: Holder) async throws {
        try await withImage { path in
            let running = try await holder.open(path, readOnly: false)
            expectConflict("Failed to get shared \"write\" lock", for: .readOnlySource, on: path)
            expectConflict("Failed to get \"write\" lock", for: .writable, on: path)
            expectConflict("Failed to get \"write\" lock", for: .creation, on: path)
            try attempt(.forcedShare, on: path)
            running.signal(15)
            _ = try await running.wait()
            try attempt(.writable, on: path)
        }
    }

    @Test(arguments: holders)
    func aReaderKeepsOnlyWritersOut(holder: Holder) async throws {
        try await withImage { path in
            let running = try await holder.open(path, readOnly: true)
            try attempt(.readOnlySource, on: path)
            expectConflict("Failed to get \"write\" lock", for: .writable, on: path)
            expectConflict("Failed to get \"write\" lock", for: .creation, on: path)
            withExtendedLifetime(running) {}
        }
    }

    struct Attempt: Sendable, CustomTestStringConvertible {
        let held: ImageLockMode
        let name: String
        let program: Program
        let arguments: [String]
        /// QEMU's message; `nil` where it must succeed.
        let refusal: String?
        var testDescription: String { "\(name): \(program.name) \(arguments.joined(separator: " "))" }

        static func holding(_ held: ImageLockMode, _ name: String) -> [Attempt] {
            let isExclusive = held != .readOnlySource && held != .forcedShare
            let write = "Failed to get \"write\" lock"
            let readerRefusal = isExclusive ? "Failed to get shared \"write\" lock" : nil
            let writerRefusal: String? =
                switch held {
                case .forcedShare: nil
                // The creator shares writing, but not the change of length.
                case .creation: "Failed to get \"resize\" lock"
                default: write
                }
            return [
                Attempt(
                    held: held, name: name, program: .qemuIMG, arguments: ["info"], refusal: readerRefusal),
                Attempt(
                    held: held, name: name, program: .qemuIMG, arguments: ["info", "--force-share"], refusal: nil),
                Attempt(
                    held: held, name: name, program: .qemuIO, arguments: ["-f", "qcow2", "-c", "write 0 64k"],
                    refusal: writerRefusal),
            ]
        }
    }

    @Test(
        arguments: Attempt.holding(.readOnlySource, "reader") + Attempt.holding(.writable, "writer")
            + Attempt.holding(.creation, "creator") + Attempt.holding(.forcedShare, "forced reader"))
    func qemuSeesOurLocks(attempt: Attempt) async throws {
        try await withImage { path in
            let descriptor = try FileDescriptor.open(path, .readOnly)
            defer { try? descriptor.close() }
            let lock = try ImageLock.acquire(
                descriptor: descriptor.rawValue, path: path.string, mode: attempt.held)
            let result = try await attempt.program.run(attempt.arguments + [path.string])
            if let refusal = attempt.refusal {
                #expect(result.exitCode != 0)
                #expect(result.standardError.contains(refusal), "\(result)")
            } else {
                #expect(result.exitCode == 0, "\(result)")
            }
            // Once we are done, QEMU may have it.
            lock.release()
            let after = try await attempt.program.run(attempt.arguments + [path.string])
            #expect(after.exitCode == 0, "\(after)")
        }
    }
}
