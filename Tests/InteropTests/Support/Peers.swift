// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import SystemPackage
import TestSupport
import Testing

/// The programs that these suites run, and what is asked of them.
enum Peers {
    static let areInstalled =
        Program.qcowbackup.isInstalled && Program.qemuIMG.isInstalled && Program.qemuIO.isInstalled
    static let missing: Comment = "qcowbackup, qemu-img or qemu-io is missing"

    /// Runs a backup that must succeed, and say nothing.
    static func backUp(_ source: FilePath, to target: FilePath, _ arguments: [String]) async throws {
        let result = try await Program.qcowbackup.runSuccessfully(
            ["-q"] + arguments + [source.string, target.string], timeout: .seconds(120))
        #expect(result.standardError.isEmpty && result.standardOutput.isEmpty, "\(arguments): \(result)")
    }

    /// Waits until a lock is gone that this process has given up: a program that another test is about to start shares it
    /// for a moment.
    ///
    /// - Parameter forWriting: whether a lock of readers counts, too. QEMU then opens the image for writing.
    static func waitUntilUnlocked(_ image: FilePath, forWriting: Bool = false) async throws {
        let (program, arguments) =
            forWriting ? (Program.qemuIO, ["-f", "qcow2", "-c", "quit"]) : (.qemuIMG, ["info", "-f", "qcow2"])
        while try await program.run(arguments + [image.string]).standardError.contains("lock") {
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    /// Expects neither errors nor leaks.
    static func expectClean(
        _ image: FilePath, about comment: @autoclosure () -> Comment? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let result = try await Program.qemuIMG.run(["check", "-f", "qcow2", image.string])
        #expect(result.exitCode == 0, "\(comment() ?? "") \(result)", sourceLocation: sourceLocation)
    }

    /// Expects that a guest sees the same, lengths included.
    ///
    /// - Parameter arguments: further options of `qemu-img compare`.
    static func expectEqual(
        _ one: String, _ oneFormat: String, _ other: String, _ otherFormat: String = "qcow2",
        _ arguments: [String] = [], in directory: FilePath? = nil, about comment: @autoclosure () -> Comment? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        // Strict mode would compare allocation too; of lengths it only warns without it.
        let result = try await Program.qemuIMG.run(
            ["compare"] + arguments + ["-f", oneFormat, "-F", otherFormat, one, other], directory: directory)
        #expect(
            result.exitCode == 0 && !result.standardOutput.contains("Warning"), "\(comment() ?? "") \(result)",
            sourceLocation: sourceLocation)
    }

    /// What `qemu-img map` says.
    static func map(_ image: FilePath, format: String = "qcow2") async throws -> [FixtureFacts.MapEntry] {
        let result = try await Program.qemuIMG.runSuccessfully([
            "map", "--output=json", "-f", format, image.string,
        ])
        return try JSONDecoder().decode([FixtureFacts.MapEntry].self, from: Data(result.outputBytes))
    }

    /// What `qemu-img info` says of one image.
    static func info(_ image: FilePath, format: String = "qcow2") async throws -> ImageInfo {
        let result = try await Program.qemuIMG.runSuccessfully([
            "info", "--output=json", "-f", format, image.string,
        ])
        return try JSONDecoder().decode(ImageInfo.self, from: Data(result.outputBytes))
    }

    static func create(_ image: FilePath, _ options: String = "", _ size: UInt64, backing: FilePath? = nil) async throws
    {
        var arguments = ["create", "-q", "-f", "qcow2"]
        if !options.isEmpty { arguments += ["-o", options] }
        if let backing { arguments += ["-b", backing.string, "-F", "qcow2"] }
        try await Program.qemuIMG.runSuccessfully(arguments + [image.string, "\(size)"])
    }

    /// Runs commands of qemu-io, without waiting for the disk.
    static func io(_ image: FilePath, _ commands: [String], format: String = "qcow2") async throws {
        let result = try await Program.qemuIO.runSuccessfully(
            ["-t", "unsafe", "-f", format] + commands.flatMap { ["-c", $0] } + [image.string])
        // It says some failures and goes on.
        try #require(!result.standardOutput.contains("failed"), "\(commands): \(result)")
    }
}
