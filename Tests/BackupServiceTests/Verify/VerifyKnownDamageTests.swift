// SPDX-License-Identifier: GPL-2.0-or-later

import Foundation
import TestSupport
import Testing

@testable import BackupService

/// Damage that is known, or that others must not hide.
struct VerifyKnownDamageTests {
    private func run(
        _ shelf: BackupShelf, _ names: [String] = ["full.qcow2"], _ change: (inout VerifyRequest) -> Void = { _ in }
    ) async throws -> [VerifyReport] {
        var request = VerifyRequest(backups: names.map(shelf.file))
        change(&request)
        let final = request
        var reports: [VerifyReport] = []
        try await BackupShelf.patiently { reports = try await VerifyOperation(final, warn: { _ in }).run() }
        return reports
    }

    private func state(_ shelf: BackupShelf, _ name: String = "full.qcow2") async throws -> VerifyState {
        try #require(await VerifyState(path: shelf.file(name) + VerifyState.suffix))
    }

    /// Flips a bit of the disk's last data.
    private func damage(_ shelf: BackupShelf, _ name: String = "full.qcow2") throws {
        try shelf.change(name) { $0[$0.count - 70_000] ^= 1 }
    }

    @Test(
        "A damage that was found is found again by each later run, however little that looks at",
        arguments: [true, false])
    func badRangesStay(isSample: Bool) async throws {
        let shelf = try await BackupShelf()
        try await shelf.backUp("full.qcow2")
        try damage(shelf)
        #expect(try await run(shelf)[0].verdict == .bad)
        let reports = try await run(shelf) {
            if isSample { $0.extent = .sample(0.000_001) } else { $0.duration = .zero }
        }
        #expect(reports[0].verdict == .bad)
        #expect(try await state(shelf).bad.count == 1)
    }

    @Test("A backup that can't be looked at keeps nobody from the others")
    func missingBackup() async throws {
        let shelf = try await BackupShelf()
        try await shelf.backUp("full.qcow2")
        try damage(shelf)
        let reports = try await run(shelf, ["none.qcow2", "full.qcow2"])
        #expect(reports.map(\.verdict) == [.unproven, .bad])
        #expect(reports[0].failure?.code == .notFound)
    }
}
