// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import SystemPackage

/// A small image in `Fixtures/`, and what is true of it, from the JSON file beside it.
package struct Fixture: Sendable {
    /// Name of the JSON file without its extension.
    package let name: String
    package let facts: FixtureFacts
    /// Directory of both files.
    private let directory: FilePath

    /// `Fixtures/` at the root of the repository.
    package static let directory: FilePath = {
        var path = FilePath(#filePath)
        // Tests/TestSupport/Fixtures/Fixture.swift
        for _ in 0..<4 { path.removeLastComponent() }
        return path.appending("Fixtures")
    }()

    /// Reads a description.
    package init(description path: FilePath) throws {
        name = path.stem ?? path.string
        directory = path.removingLastComponent()
        facts = try JSONDecoder().decode(FixtureFacts.self, from: Data(contentsOf: URL(filePath: path.string)))
    }

    /// Every fixture, by name.
    package static func all() throws -> [Fixture] {
        try known.get()
    }

    /// Read once: the arguments of many tests are made of them.
    private static let known = Result { try all(in: directory) }

    static func all(in directory: FilePath) throws -> [Fixture] {
        guard FileManager.default.fileExists(atPath: directory.string) else { return [] }
        return try FileManager.default.contentsOfDirectory(atPath: directory.string).sorted()
            .filter { $0.hasSuffix(".json") }
            .map { try Fixture(description: directory.appending($0)) }
    }

    /// Copies the image, and what else is named after the fixture (backing files, data files), to a directory where it
    /// may be changed. The fixture itself stays as it is.
    ///
    /// - Returns: path of the copied image.
    package func copyIntoPlace(_ target: TemporaryDirectory) throws -> FilePath {
        let manager = FileManager.default
        let others = try manager.contentsOfDirectory(atPath: directory.string)
            .filter { $0.hasPrefix(name + ".") && !$0.hasSuffix(".json") }
        for file in Set(others).union([facts.file]) {
            let copy = target.file(file).string
            try manager.copyItem(atPath: directory.appending(file).string, toPath: copy)
            // A checkout may be read-only; a directory's permissions are another matter.
            if try manager.attributesOfItem(atPath: copy)[.type] as? FileAttributeType == .typeRegular {
                try manager.setAttributes([.posixPermissions: 0o644], ofItemAtPath: copy)
            }
        }
        return target.file(facts.file)
    }
}

extension Fixture: CustomStringConvertible {
    package var description: String { name }
}
