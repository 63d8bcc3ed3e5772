// SPDX-License-Identifier: GPL-2.0-or-later

import DiskChain
import Qcow2Format
import SystemPackage
import TestSupport
import Testing

@testable import BackupService

/// No increment is made that nothing could open.
@Suite struct ParentLengthTests {
    private func warnings(ofParent count: Int) throws -> [String] {
        var warnings: [String] = []
        try ParentChain.checkLength(ofParent: count, "p") { warnings.append($0) }
        return warnings
    }

    @Test func longer() async throws {
        #expect(try warnings(ofParent: 1) == [])
        #expect(try warnings(ofParent: 99) == [])
        #expect(try warnings(ofParent: 100).first?.contains("has 101 images") == true)
        #expect(try warnings(ofParent: DiskOpener.longestChain - 1).count == 1)
        let error = try await refusal { _ = try warnings(ofParent: DiskOpener.longestChain) }
        #expect(error.message.contains("the chain of p has 256 images"), "\(error.message)")
        #expect(error.advice?.contains("--sync=full") == true)
    }

    /// What the check lets pass can be opened with one more image on top, and what it refuses can't.
    @Test func asTheReaderCounts() async throws {
        let directory = try TemporaryDirectory()
        try await directory.makeImage("0", length: 1 << 20)
        let source = try await DiskOpener().open(directory.makeImage("source", length: 1 << 20))
        let longest = DiskOpener.longestChain
        for index in 1...longest {
            try await directory.makeOverlay("\(index)", over: "\(index - 1)", length: 1 << 20)
        }
        let parent = try await ParentChain(Self.request(directory, parent: longest - 2), for: source)
        try parent.checkLength { _ in }
        _ = try await DiskOpener().open(directory.file("\(longest - 1)").string)
        let full = try await ParentChain(Self.request(directory, parent: longest - 1), for: source)
        let error = try await refusal { try full.checkLength { _ in } }
        #expect(error.code == .unsupported)
        await #expect(throws: ChainError.self) { _ = try await DiskOpener().open(directory.file("\(longest)").string) }
    }

    private static func request(_ directory: TemporaryDirectory, parent: Int) -> BackupRequest {
        var request = BackupRequest(source: "source", target: directory.file("target").string)
        request.parent = directory.file("\(parent)").string
        return request
    }
}
