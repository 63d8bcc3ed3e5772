// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import SystemPackage
import TestSupport
import Testing

/// Every fixture that is no proper disk is refused with one line that says why, at once, and nothing is left behind.
@Suite(.limited, .enabled(if: Peers.areInstalled, Peers.missing))
struct FixtureRefusalTests {
    static let ways = [["--sync=full"], ["--sync=top"], ["-c"], ["-O", "raw"]]

    /// Runs the program so that it is ended where it takes more than 5 seconds of processor time or 256 MiB of memory,
    /// which is what it asks for before it begins.
    private func runBounded(_ arguments: [String]) async throws -> ProgramResult {
        let program = try #require(Program.qcowbackup.path)
        return try await Program("sh").run(
            ["-c", "ulimit -c 0; ulimit -t 5; ulimit -d 262144; exec \"$@\"", "sh", program.string, "--max-workers=4"]
                + arguments)
    }

    /// Every fixture in every way; or each in one way, in turn.
    private static func pairs() throws -> [(Fixture, [String])] {
        try Fixture.refused().enumerated().flatMap { index, fixture in
            (isHeavyRun ? ways : [ways[index % ways.count]]).map { (fixture, $0) }
        }
    }

    @Test(arguments: try pairs())
    func refusal(of fixture: Fixture, way: [String]) async throws {
        let expected = try #require(fixture.facts.error)
        try await withTemporaryDirectory { directory in
            let source = try fixture.copyIntoPlace(directory)
            let before = try directory.content()
            let arguments = fixture.facts.arguments + way + [source.string, directory.file("target").string]

            let result = try await runBounded(arguments)

            #expect(result.exitCode == expected.exitCode, "\(result)")
            #expect(result.standardOutput.isEmpty)
            let lines = result.standardError.split(separator: "\n", omittingEmptySubsequences: false)
                .filter { !$0.hasPrefix("qcowbackup: warning: ") }
            #expect(lines.count == 2 && lines.last == "", "not one line: \(result)")
            for words in expected.messageContains {
                #expect(result.standardError.contains(words), "\(result)")
            }
            // Of a chain of files, the message says which one.
            #expect(result.standardError.contains(fixture.name), "\(result)")
            #expect(try directory.content() == before, "the source changed, or a target was left")
        }
    }

    /// The bounds alone are no reason to refuse an image.
    @Test(
        arguments: try Fixture.accepted().filter { $0.name.hasPrefix("cluster-size") || $0.name.hasPrefix("virtual") })
    func boundsAllowBackups(of fixture: Fixture) async throws {
        try await withTemporaryDirectory { directory in
            let source = try fixture.copyIntoPlace(directory)
            let result = try await runBounded(
                fixture.facts.arguments + ["-q", "-c", source.string, directory.file("target").string])
            #expect(result.exitCode == 0, "\(result)")
        }
    }
}
