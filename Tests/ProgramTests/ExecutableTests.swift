// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import Testing

/// The program that was built with the tests.
private enum BuiltProgram {
    /// Products of one build lie in one folder, so the program lies beside the running test runner.
    static let url: URL? = {
        let folder = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
        let program = folder.appendingPathComponent("qcowbackup")
        return FileManager.default.isExecutableFile(atPath: program.path) ? program : nil
    }()
}

/// The program as a process of its own.
@Suite(.enabled(if: BuiltProgram.url != nil, "the program is built beside its tests")) struct ExecutableTests {
    /// Runs shell code in which `$0` is the program.
    private static func shell(_ code: String) throws -> (status: Int32, output: String) {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", code, try #require(BuiltProgram.url).path]
        let output = Foundation.Pipe()
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let text = try output.fileHandleForReading.readToEnd() ?? Data()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: text, as: UTF8.self))
    }

    @Test(arguments: [
        (#""$0" --version"#, 0), (#""$0" --version >/dev/full"#, 1), (#""$0" --version >&-"#, 1), (#""$0""#, 2),
        (#""$0" --nonsense 2>&-"#, 2), (#""$0" /nonexistent/a /nonexistent/b"#, 1),
        (#""$0" /nonexistent/a /nonexistent/b <&- >&- 2>&-"#, 1),
        (#""$0" --output=json /nonexistent/a /nonexistent/b"#, 1),
        (#""$0" /nonexistent/a "$(printf 'b\377')""#, 2), (#""$0" --snapshot "$(printf '\377')" a b"#, 2),
    ])
    func exitCode(code: String, status: Int32) throws {
        #expect(try Self.shell(code).status == status)
    }

    /// A name that is no text would be written down as another one.
    @Test func namesThatAreNoText() throws {
        let text = try Self.shell(#""$0" "$(printf 'a\377')" b 2>&1"#).output
        #expect(text.hasPrefix("qcowbackup: argument 1 is not UTF-8: a\u{FFFD} ("))
        let json = try Self.shell(#""$0" --output=json a "$(printf 'b\377')" 2>&1"#).output
        #expect(json.contains(#""code":"usage""#) && json.contains("argument 3"))
    }

    @Test func oneLineAnError() throws {
        let output = try Self.shell(#""$0" /nonexistent/a /nonexistent/b 2>&1"#).output
        #expect(output.hasPrefix("qcowbackup: "))
        #expect(output.split(separator: "\n", omittingEmptySubsequences: false).count == 2)
    }
}
