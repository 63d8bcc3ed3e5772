// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import SystemPackage

/// An external program. Arguments reach it as they are: there is no shell in between.
package struct Program: Sendable {
    package let name: String
    /// `nil` where it is not installed.
    package let path: FilePath?

    /// Looks a program up in `PATH`.
    package init(_ name: String) {
        let directories = (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin").split(separator: ":")
        self.init(
            name: name,
            path: directories.lazy.map { FilePath(String($0)).appending(name) }
                .first { FileManager.default.isExecutableFile(atPath: $0.string) })
    }

    package init(name: String, path: FilePath?) {
        self.name = name
        self.path = path
    }

    /// For `.enabled(if:)`: a test without its program is to be seen as skipped.
    package var isInstalled: Bool { path != nil }

    /// Starts the program and lets it run.
    ///
    /// - Parameters:
    ///   - environment: set in addition to this process's own.
    ///   - directory: working directory; `nil` stands for this process's own.
    package func start(
        _ arguments: [String], environment: [String: String] = [:], directory: FilePath? = nil
    ) throws(ProgramError) -> RunningProgram {
        guard let path else { throw .notFound(program: name) }
        guard let directory else {
            return try RunningProgram(path: path, arguments: arguments, environment: environment)
        }
        // posix_spawn's own way to change the directory is not imported.
        return try RunningProgram(
            path: "/usr/bin/env", arguments: ["-C", directory.string, path.string] + arguments,
            environment: environment)
    }

    /// Runs the program to its end, whatever its exit code.
    package func run(
        _ arguments: [String], input: [UInt8] = [], environment: [String: String] = [:], directory: FilePath? = nil,
        timeout: Duration = .seconds(60)
    ) async throws(ProgramError) -> ProgramResult {
        let running = try start(arguments, environment: environment, directory: directory)
        await running.write(input)
        running.closeInput()
        return try await running.wait(timeout: timeout)
    }

    /// Runs the program to its end, which must be exit code 0.
    @discardableResult
    package func runSuccessfully(
        _ arguments: [String], input: [UInt8] = [], environment: [String: String] = [:], directory: FilePath? = nil,
        timeout: Duration = .seconds(60)
    ) async throws(ProgramError) -> ProgramResult {
        let result = try await run(
            arguments, input: input, environment: environment, directory: directory, timeout: timeout)
        guard result.exitCode == 0 else {
            throw .failed(commandLine: ([name] + arguments).joined(separator: " "), result: result)
        }
        return result
    }
}

extension Program {
    package static let qemuIMG = Program("qemu-img")
    package static let qemuIO = Program("qemu-io")
    package static let qemuNBD = Program("qemu-nbd")
    package static let qemuStorageDaemon = Program("qemu-storage-daemon")
    package static let nbdkit = Program("nbdkit")
    package static let nbdinfo = Program("nbdinfo")
    package static let strace = Program("strace")

    /// The program of this package, built beside the tests; `QCOWBACKUP_PROGRAM` names another one.
    package static let qcowbackup: Program = {
        let name = "qcowbackup"
        let override = ProcessInfo.processInfo.environment["QCOWBACKUP_PROGRAM"]
        // The test bundle is the running executable, and SwiftPM puts all products into one directory.
        let bundle = FilePath(
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? "/")
        let path = override.map { FilePath($0) } ?? bundle.removingLastComponent().appending(name)
        return Program(name: name, path: FileManager.default.isExecutableFile(atPath: path.string) ? path : nil)
    }()
}
