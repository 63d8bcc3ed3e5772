// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import SystemPackage
import TestSupport
import Testing

/// The program that was built with the tests: products of one build lie in one folder, beside the running test runner.
private let builtProgram: FilePath? = {
    let folder = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
    let program = folder.appendingPathComponent("qcowbackup").path
    return FileManager.default.isExecutableFile(atPath: program) ? FilePath(program) : nil
}()

/// The program as a process of its own.
@Suite(.enabled(if: builtProgram != nil, "the program is built beside its tests")) struct ExecutableTests {
    /// Runs shell code in which `$0` is the program; both its streams are one.
    private static func shell(_ code: String) async throws -> (status: Int32, output: String) {
        let program = try #require(builtProgram)
        let result = try await Program("sh").run(["-c", "exec 2>&1; \(code)", program.string])
        return (result.exitCode, result.standardOutput)
    }

    @Test(arguments: [
        (#""$0" --version"#, 0), (#""$0" --version >/dev/full"#, 1), (#""$0" --version >&-"#, 1), (#""$0""#, 2),
        (#""$0" --nonsense 2>&-"#, 2), (#""$0" /nonexistent/a /nonexistent/b"#, 1),
        (#""$0" /nonexistent/a /nonexistent/b <&- >&- 2>&-"#, 1),
        (#""$0" --output=json /nonexistent/a /nonexistent/b"#, 1),
        (#""$0" /nonexistent/a "$(printf 'b\377')""#, 2), (#""$0" --snapshot "$(printf '\377')" a b"#, 2),
    ])
    func exitCode(code: String, status: Int32) async throws {
        #expect(try await Self.shell(code).status == status)
    }

    /// A name that is no text would be written down as another one.
    @Test func namesThatAreNoText() async throws {
        let text = try await Self.shell(#""$0" "$(printf 'a\377')" b 2>&1"#).output
        #expect(text.hasPrefix("qcowbackup: argument 1 is not UTF-8: a\u{FFFD} ("))
        let json = try await Self.shell(#""$0" --output=json a "$(printf 'b\377')" 2>&1"#).output
        #expect(json.contains(#""code":"usage""#) && json.contains("argument 3"))
    }

    @Test func oneLineAnError() async throws {
        let output = try await Self.shell(#""$0" /nonexistent/a /nonexistent/b 2>&1"#).output
        #expect(output.hasPrefix("qcowbackup: "))
        #expect(output.split(separator: "\n", omittingEmptySubsequences: false).count == 2)
    }
}
