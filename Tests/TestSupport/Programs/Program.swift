// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
public import SystemPackage

/// An external program. Arguments reach it as they are: there is no shell in between.
public struct Program: Sendable {
    public let name: String
    /// `nil` where it is not installed.
    public let path: FilePath?

    /// Looks a program up in `PATH`.
    public init(_ name: String) {
        let directories = (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin").split(separator: ":")
        self.init(
            name: name,
            path: directories.lazy.map { FilePath(String($0)).appending(name) }
                .first { FileManager.default.isExecutableFile(atPath: $0.string) })
    }

    public init(name: String, path: FilePath?) {
        self.name = name
        self.path = path
    }

    /// For `.enabled(if:)`: a test without its program is to be seen as skipped.
    public var isInstalled: Bool { path != nil }

    /// Starts the program and lets it run.
    ///
    /// - Parameters:
    ///   - environment: set in addition to this process's own.
    ///   - directory: working directory; `nil` stands for this process's own.
    public func start(
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
    public func run(
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
    public func runSuccessfully(
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
    public static let qemuIMG = Program("qemu-img")
    public static let qemuIO = Program("qemu-io")
    public static let qemuNBD = Program("qemu-nbd")
    public static let qemuStorageDaemon = Program("qemu-storage-daemon")
    public static let nbdkit = Program("nbdkit")
    public static let nbdinfo = Program("nbdinfo")
    public static let strace = Program("strace")

    /// The program of this package, built beside the tests; `QCOWBACKUP_PROGRAM` names another one.
    public static let qcowbackup: Program = {
        let name = "qcowbackup"
        let override = ProcessInfo.processInfo.environment["QCOWBACKUP_PROGRAM"]
        // The test bundle is the running executable, and SwiftPM puts all products into one directory.
        let bundle = FilePath(
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? "/")
        let path = override.map { FilePath($0) } ?? bundle.removingLastComponent().appending(name)
        return Program(name: name, path: FileManager.default.isExecutableFile(atPath: path.string) ? path : nil)
    }()
}
