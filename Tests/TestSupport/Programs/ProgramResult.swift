// SPDX-License-Identifier: GPL-2.0-or-later

/// How a program ended, and what it said.
package struct ProgramResult: Sendable, CustomStringConvertible {
    /// Exit status; 128 and the number of the signal that ended it, as a shell reports it.
    package let exitCode: Int32
    package let outputBytes: [UInt8]
    package let errorBytes: [UInt8]

    package var standardOutput: String { String(decoding: outputBytes, as: UTF8.self) }
    package var standardError: String { String(decoding: errorBytes, as: UTF8.self) }

    package var description: String {
        "exit code \(exitCode)\nstdout: \(standardOutput)\nstderr: \(standardError)"
    }
}

/// A program that could not be run, or did not do what was waited for.
package enum ProgramError: Error, Sendable, CustomStringConvertible {
    case notFound(program: String)
    case notStarted(program: String, errno: Int32)
    case timedOut(program: String, seconds: Double, result: ProgramResult)
    /// It ended before it said what was waited for.
    case ended(program: String, awaited: String, result: ProgramResult)
    /// `runSuccessfully` met an exit code other than 0.
    case failed(commandLine: String, result: ProgramResult)

    package var description: String {
        switch self {
        case .notFound(let program): "\(program) is not installed"
        case .notStarted(let program, let errno): "\(program) was not started: errno \(errno)"
        case .timedOut(let program, let seconds, let result): "\(program) took longer than \(seconds) s: \(result)"
        case .ended(let program, let awaited, let result): "\(program) ended without saying “\(awaited)”: \(result)"
        case .failed(let commandLine, let result): "\(commandLine): \(result)"
        }
    }
}
