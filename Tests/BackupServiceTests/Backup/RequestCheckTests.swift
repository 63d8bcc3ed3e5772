// SPDX-License-Identifier: GPL-2.0-or-later

import BackupCore
import BackupService
import DiskChain
import Qcow2Format
import Testing

/// Requests that contradict themselves are refused before a file is opened.
@Suite struct RequestCheckTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let message: String
        let change: @Sendable (inout BackupRequest) -> Void

        init(_ message: String, _ change: @escaping @Sendable (inout BackupRequest) -> Void) {
            self.message = message
            self.change = change
        }

        var testDescription: String { message }
    }

    private static let withoutBitmap: [Case] = [
        Case("--sync=incremental needs --bitmap NAME") { $0.sync = .incremental },
        Case("--sync=bitmap needs --bitmap NAME") { $0.sync = .bitmap },
        Case("--bitmap-mode needs --bitmap NAME") { $0.bitmapMode = .always },
        Case("--create-bitmap needs --bitmap NAME") { $0.createsBitmap = true },
        Case("--granularity needs --bitmap NAME") { $0.granularity = 65536 },
        Case("--fallback needs --bitmap NAME") { $0.fallsBackToFull = true },
        Case("-b is for --sync=incremental and bitmap") { $0.parent = "p" },
        Case("--bitmap: the name is empty") { $0.bitmap = "" },
        Case("the name has 1024 bytes; at most 1023") { $0.bitmap = String(repeating: "x", count: 1024) },
    ]

    private static let full: [Case] = [
        Case("--bitmap-mode=never and --sync=full") { $0.bitmapMode = .never },
        Case("-b is for --sync=incremental and bitmap") { $0.parent = "p" },
        Case("--snapshot and --bitmap") { $0.snapshot = "s" },
        Case("-U and --bitmap") { $0.forceShare = true },
        Case("-f raw: only qcow2 images have bitmaps") { $0.sourceFormat = .raw },
    ]

    private static let increment: [Case] = [
        Case("needs -b PARENT") { $0.parent = nil },
        Case("--sync=incremental clears the bitmap on success") { $0.bitmapMode = .never },
        Case("--sync=bitmap needs --bitmap-mode") { $0.sync = .bitmap },
        Case("--create-bitmap is for --sync=full and top") { $0.createsBitmap = true },
        Case("-O raw: an increment is a qcow2 image") { $0.targetFormat = .raw },
        Case("-n writes into an image as it is") { $0.existingTarget = .reuse },
    ]

    /// The first night of a job that runs every night.
    @Test func fallbackWithoutParent() throws {
        var request = BackupRequest(source: "a", target: "b")
        request.bitmap = "b0"
        request.sync = .incremental
        request.fallsBackToFull = true
        try request.check()
    }

    private func expectRefused(_ one: Case, from request: BackupRequest) async throws {
        var request = request
        request.expectFine()
        one.change(&request)
        let error = try await refusal { try request.check() }
        #expect(error.code == .usage)
        #expect(error.message.contains(one.message), "\(error.message)")
        // The run itself says the same.
        let again = try await refusal { _ = try await BackupOperation(request, warn: { _ in }).run() }
        #expect(again.message == error.message)
    }

    @Test(arguments: withoutBitmap) func refusedWithoutBitmap(one: Case) async throws {
        try await expectRefused(one, from: BackupRequest(source: "a", target: "b"))
    }

    @Test(arguments: full) func refusedWithFull(one: Case) async throws {
        var request = BackupRequest(source: "a", target: "b")
        request.bitmap = "b0"
        try await expectRefused(one, from: request)
    }

    @Test(arguments: increment) func refusedWithIncrement(one: Case) async throws {
        var request = BackupRequest(source: "a", target: "b")
        request.bitmap = "b0"
        request.parent = "p"
        request.sync = .incremental
        try await expectRefused(one, from: request)
    }
}

extension BackupRequest {
    /// Expects that nothing is wrong with a request yet.
    fileprivate func expectFine() {
        #expect(throws: Never.self) { try check() }
    }
}
