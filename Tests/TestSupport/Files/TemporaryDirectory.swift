// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import SystemPackage

/// A new, empty directory that is removed, with what is in it, together with this object.
///
/// It lies below `TMPDIR`, else below `/tmp`.
package final class TemporaryDirectory: Sendable {
    package let path: FilePath

    package init() throws {
        let parent = ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp"
        path = FilePath(parent).appending("qcowbackup-test-\(UUID().uuidString)")
        try FileManager.default.createDirectory(
            atPath: path.string, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
    }

    /// Path of a name inside the directory; nothing is created.
    package func file(_ name: String) -> FilePath {
        path.appending(name)
    }

    /// Creates or replaces a file.
    @discardableResult
    package func write(_ bytes: [UInt8], to name: String) throws -> FilePath {
        try Data(bytes).write(to: URL(filePath: file(name).string))
        return file(name)
    }

    /// Whole content of a file.
    package func read(_ name: String) throws -> [UInt8] {
        try [UInt8](Data(contentsOf: URL(filePath: file(name).string)))
    }

    package func exists(_ name: String) -> Bool {
        FileManager.default.fileExists(atPath: file(name).string)
    }

    /// Names in the directory, sorted.
    package func names() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path.string).sorted()
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path.string)
    }
}

/// Runs `body` with a directory of its own, which is removed afterwards.
package func withTemporaryDirectory<Result>(
    _ body: (TemporaryDirectory) async throws -> Result
) async throws -> Result {
    let directory = try TemporaryDirectory()
    // The object, and with it the directory, must live until the body is done.
    defer { withExtendedLifetime(directory) {} }
    return try await body(directory)
}
