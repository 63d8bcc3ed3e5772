// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import SystemPackage
import TestSupport
import Testing

/// Runs what the program and qemu-img both can, so that their answers can be compared.
enum ImagePeers {
    struct Answers {
        var ours: ProgramResult
        var theirs: ProgramResult
    }

    static func ask(_ arguments: [String], in directory: FilePath? = nil) async throws -> Answers {
        Answers(
            ours: try await ours(arguments, in: directory),
            theirs: try await Program.qemuIMG.run(arguments, directory: directory))
    }

    /// Runs the program so that it is ended where it takes more than 10 seconds of processor time or 256 MiB of memory.
    static func ours(_ arguments: [String], in directory: FilePath? = nil) async throws -> ProgramResult {
        let program = try #require(Program.qcowbackup.path)
        return try await Program("sh").run(
            ["-c", "ulimit -c 0; ulimit -t 10; ulimit -d 262144; exec \"$@\"", "sh", program.string] + arguments,
            directory: directory)
    }

    /// Expects the same exit code and the same output.
    static func expectSameText(
        _ arguments: [String], in directory: FilePath? = nil, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let answers = try await ask(arguments, in: directory)
        #expect(
            answers.ours.exitCode == answers.theirs.exitCode
                && answers.ours.standardOutput == answers.theirs.standardOutput,
            "\(arguments): \(answers.ours)\nqemu-img: \(answers.theirs)", sourceLocation: sourceLocation)
    }

    /// Expects JSON of the same value, but for keys that only this program has.
    ///
    /// - Parameter extra: those keys; they may be missing.
    static func expectSameJSON(
        _ arguments: [String], butFor extra: String, in directory: FilePath? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        let answers = try await ask(arguments, in: directory)
        #expect(answers.ours.exitCode == 0 && answers.theirs.exitCode == 0, sourceLocation: sourceLocation)
        let ours = try JSON(answers.ours.outputBytes).without(extra)
        let theirs = try JSON(answers.theirs.outputBytes)
        #expect(
            ours == theirs, "\(arguments): \(answers.ours)\nqemu-img: \(answers.theirs)",
            sourceLocation: sourceLocation)
    }

    /// Expects at most one line of error, and nothing else on standard error but warnings.
    static func expectOneLine(
        _ result: ProgramResult, isError: Bool, _ comment: Comment, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let lines = result.standardError.split(separator: "\n").filter { !$0.contains("warning") }
        #expect(lines.count == (isError ? 1 : 0), "\(comment): \(result)", sourceLocation: sourceLocation)
    }
}

/// Any JSON value.
indirect enum JSON: Equatable, Decodable {
    case object([String: JSON])
    case list([JSON])
    case text(String)
    case flag(Bool)
    case number(UInt64)

    init(_ bytes: [UInt8]) throws {
        self = try JSONDecoder().decode(JSON.self, from: Data(bytes))
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let flag = try? container.decode(Bool.self) {
            self = .flag(flag)
        } else if let number = try? container.decode(UInt64.self) {
            self = .number(number)
        } else if let text = try? container.decode(String.self) {
            self = .text(text)
        } else if let list = try? container.decode([JSON].self) {
            self = .list(list)
        } else {
            self = .object(try container.decode([String: JSON].self))
        }
    }

    /// The value without a key, wherever objects have it.
    func without(_ key: String) -> JSON {
        switch self {
        case .object(let members):
            .object(members.filter { $0.key != key }.mapValues { $0.without(key) })
        case .list(let elements): .list(elements.map { $0.without(key) })
        default: self
        }
    }

    subscript(key: String) -> JSON? {
        if case .object(let members) = self { members[key] } else { nil }
    }
}
